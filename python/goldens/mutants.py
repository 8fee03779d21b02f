"""Shows that the parity goldens catch faults that real servers have had.

    python3 python/goldens/mutants.py [--max-length 1000]

Runs modernbert_reference.py in float32 over the committed goldens, once without a fault and once with each
fault it knows. Prints the largest deviation of hidden states, logits, probabilities and embeddings over all
cases, as multiples of the tolerances that the engine's tests use, the case that shows it best and how many
cases show it at all. Exits 1 if the model without a fault is out of tolerance or a fault is caught by less
than MARGIN times the tolerance.
"""

import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

import goldens
import variants
from modernbert_reference import FAULTS, Reference, read_config

TOLERANCES = {"hidden": 2e-5, "logits": 2e-5, "probabilities": 5e-6, "embeddings": 5e-6}
MARGIN = 5.0


def load(directory):
    tensors = {}
    for file in sorted(directory.glob("*.safetensors")):
        tensors |= load_file(file)
    inputs = json.loads((directory / "expected.json").read_text())["inputs"]
    return read_config(directory), tensors, inputs


def worst(found, expected):
    return float((found.double() - torch.tensor(expected, dtype=torch.float64)).abs().max())


def deviations(model, entry):
    """Returns the largest deviation of each kind of output from the expected output of one input."""
    hidden = model.hidden(goldens.input_ids(entry["ids"]))
    logits = model.logits(hidden)
    rows = entry["hidden_rows"]
    found = {"hidden": worst(hidden[rows["positions"]], rows["values"])}
    if "embedding_mean" in entry:
        pooled = [(hidden.mean(dim=0), entry["embedding_mean"]), (hidden[0], entry["embedding_cls"])]
        found["embeddings"] = max(worst(goldens.normalized(a), b) for a, b in pooled)
    if logits is None:
        return found
    probabilities = goldens.probabilities(model.config, logits)
    for kind, tensor in [("logits", logits), ("probabilities", probabilities)]:
        if kind in entry:
            found[kind] = worst(tensor, entry[kind])
        elif rows := entry.get(f"{kind}_rows"):
            found[kind] = worst(tensor[rows["positions"]], rows["values"])
    return found


def scan(cases, faults, max_length):
    """Returns the worst (multiple of the tolerance, case, length) per kind of output, and the cases out of tolerance."""
    best = {kind: (0.0, "-", 0) for kind in TOLERANCES}
    caught = set()
    for name, (config, tensors, inputs) in cases.items():
        model = Reference(config, tensors, dtype=torch.float32, faults=faults)
        for entry in inputs:
            length = entry["ids"]["len"]
            if length > max_length:
                continue
            for kind, value in deviations(model, entry).items():
                best[kind] = max(best[kind], (value / TOLERANCES[kind], name, length))
                if value > TOLERANCES[kind]:
                    caught.add(name)
    return best, caught


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--max-length", type=int, default=1000, help="skip longer inputs")
    args = parser.parse_args()
    cases = {name: load(goldens.GOLDENS / name) for name in goldens.CASES}
    for variant in variants.read():
        config, tensors, _ = cases[variant["case"]]
        cases[variants.title(variant)] = ({**config, **variant["config"]}, tensors, variant["inputs"])
    print("largest deviation, in tolerances: " + ", ".join(f"{k} {v:g}" for k, v in TOLERANCES.items()))
    failed = False
    for fault in [None, *FAULTS]:
        best, caught = scan(cases, [fault] if fault else [], args.max_length)
        ratio, name, length = max(best[kind] for kind in TOLERANCES)
        failed |= ratio < MARGIN if fault else ratio > 1
        row = ", ".join(f"{kind} {best[kind][0]:.3g}" for kind in TOLERANCES)
        where = f"most in {name}, {length} tokens; {len(caught)} of {len(cases)} cases"
        print(f"{fault or 'no fault'}: {row}; {where}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
