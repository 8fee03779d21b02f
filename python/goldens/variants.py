"""Writes the outputs of `transformers` for the golden checkpoints under other configs.

    python3 python/goldens/variants.py [--exact]

Each variant is a case of goldens.py with some keys of its config.json replaced by keys that need no other weights:
activations, windows, and head dimensions. All go into crates/engine/tests/goldens/variants.json; the README there
describes it. Needs what goldens.py needs, and the checkpoints that it has written. `--exact` also prints how far
float32 is from the independent float64 forward pass.
"""

import argparse
import copy
import json

import torch
import transformers
from transformers.activations import ACT2FN

import goldens
from modernbert_reference import ACTIVATIONS

PATH = goldens.GOLDENS / "variants.json"
# Their functions have trained parameters, which a ModernBERT checkpoint has no names for.
PARAMETRIC = {"prelu", "xielu"}
LABELS, WINDOWS = "seqcls-multilabel-training-config", "tokcls-bio-new-window64"
MASKS = "mlm-legacy-yarn-sharded"


def variants():
    """Returns (case, keys of config.json, lengths, rows) of each variant."""
    names = sorted(set(ACT2FN) - PARAMETRIC)
    assert names == sorted(ACTIVATIONS), "modernbert_reference.py has the formula of each activation"
    for name in names:
        yield LABELS, {"hidden_activation": name}, [65], []
        yield LABELS, {"classifier_activation": name}, [65], []
    for window in [
        {"sliding_window": 16},
        {"sliding_window": 100},
        {"sliding_window": 3, "local_attention": 400},
        {"local_attention": 33},
        {"local_attention": 1},
    ]:
        yield WINDOWS, window, [150], [65]
    for heads in [1, 2, 4, 6, 8, 12, 32]:
        yield WINDOWS, {"num_attention_heads": heads}, [150], []
    yield MASKS, {"num_attention_heads": 1}, [130], []
    yield MASKS, {"num_attention_heads": 4}, [130], []


def title(variant):
    return f"{variant['case']} {json.dumps(variant['config'])}"


def read():
    """Returns the variants that are committed."""
    return json.loads(PATH.read_text())["variants"]


def run(case, keys, lengths, rows, exact):
    """Returns one entry of variants.json."""
    config = goldens.merged_config(goldens.CASES[case]) | keys
    head = getattr(transformers, config["architectures"][0])
    model = head.from_pretrained(
        goldens.GOLDENS / case,
        config=transformers.ModernBertConfig.from_dict(copy.deepcopy(config)),
        dtype=torch.float32,
        attn_implementation="sdpa",
    ).eval()
    variant = {"case": case, "config": keys, "inputs": []}
    for length in lengths:
        spec = {"kind": "formula", "seed": goldens.CASES[case]["seed"], "len": length, "first": goldens.FIRST_ID}
        spec |= {"vocab": config["vocab_size"], "cls": goldens.CLS_ID, "sep": goldens.SEP_ID}
        ids = goldens.input_ids(spec)
        hidden, logits = goldens.outputs(model, ids)
        found = goldens.summary(config, hidden, logits, rows)
        if case != MASKS:
            # A classifier returns no embeddings.
            del found["embedding_mean"], found["embedding_cls"]
        variant["inputs"].append({"ids": spec, **found})
        if exact:
            goldens.print_exactness(title(variant), config, model, ids, hidden, logits)
    return variant


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--exact", action="store_true", help="compare with float64")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    lines = [json.dumps(run(*variant, args.exact)) for variant in variants()]
    header = f'{{"transformers": "{transformers.__version__}", "torch": "{torch.__version__}", "variants": [\n'
    PATH.write_text(header + ",\n".join(lines) + "\n]}\n")
    print(f"{len(lines)} variants, {PATH.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
