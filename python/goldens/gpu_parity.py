"""Compares a GPU's bf16 rows with `transformers` in float32 on the same random full-size weights.

    python3 python/goldens/gpu_parity.py --bigbatch BIN --xtask BIN --work DIR

Needs a GPU, torch and transformers. Makes checkpoints with `bigbatch model init`, runs packed batches of
mixed lengths through `xtask rows`, and compares:

- hidden states: the lowest cosine over all positions of every sequence, YaRN and plain, is at least 0.9995;
- labels of sequences, labels of tokens, masked tokens: the argmax is the same wherever the best float32 logit
  leads by more than 0.05;
- planted faults: the same comparison fails against references without RoPE, with swapped thetas, without
  YaRN, without the window and with a window of 63.

Prints a table; the exit code is 1 if any row fails.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy
import torch
import transformers
from safetensors.torch import load_file

import modernbert_reference as reference
from parity import load

LENGTHS = [1, 65, 512, 1000, 4096, 8192, 16384, 32768]
SHORT = [7, 64, 65, 300, 1000, 2048, 4096]
LEAST_COSINE = 0.9995
CLEAR_MARGIN = 0.05
VOCAB = 50368


def ids(length, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCAB, (length,), generator=generator).tolist()


def rows(args, model, rope, sequences, wanted):
    work = args.work / "rows"
    work.mkdir(parents=True, exist_ok=True)
    batches = work / "batches.json"
    batches.write_text(json.dumps([{"sequences": sequences, "rows": wanted}]))
    command = [args.xtask, "rows", "--model", model, "--on", args.on, "--rope", rope]
    subprocess.run(command + ["--batches", batches, "--out", work], check=True, stdout=subprocess.DEVNULL)
    return torch.from_numpy(numpy.fromfile(work / "0.f32", dtype="<f4")).cuda()


def init(args, name, *more):
    directory = args.work / name
    if not (directory / "model.safetensors").is_file():
        command = [args.bigbatch, "model", "init", "--preset", "modernbert-base-32k", *more, directory]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return directory


def plain_config(config):
    return {key: value for key, value in config.items() if key != "rope_scaling"}


def least_cosine(got, expected):
    return torch.nn.functional.cosine_similarity(got.double(), expected.double(), dim=-1).min().item()


class Table:
    def __init__(self):
        self.bad = 0

    def row(self, what, figure, fine):
        self.bad += not fine
        print(f"{what:<64} {figure:>24}  {'ok' if fine else 'FAILED'}", flush=True)


@torch.inference_mode()
def hidden(args, table):
    directory = init(args, "base", "--head", "base")
    sequences = [ids(length, 1000 + length) for length in LENGTHS]
    for rope in ("checkpoint", "plain"):
        got = rows(args, directory, rope, sequences, "hidden").view(-1, 768)
        config = reference.read_config(directory)
        config = config if rope == "checkpoint" else plain_config(config)
        model = transformers.ModernBertModel.from_pretrained(
            directory,
            config=transformers.ModernBertConfig.from_dict(config),
            dtype=torch.float32,
            attn_implementation="sdpa",
        )
        model = model.eval().cuda()
        start = 0
        for sequence in sequences:
            own = got[start : start + len(sequence)]
            start += len(sequence)
            expected = model(torch.tensor([sequence], device="cuda")).last_hidden_state[0]
            cosine = least_cosine(own, expected)
            name = "YaRN" if rope == "checkpoint" else "plain"
            table.row(f"hidden, {name}, {len(sequence)} tokens: least cosine", f"{cosine:.6f}", cosine >= LEAST_COSINE)
        del model
        torch.cuda.empty_cache()


@torch.inference_mode()
def faults(args, table):
    directory = init(args, "base", "--head", "base")
    sequence = ids(4096, 5)
    got = rows(args, directory, "checkpoint", [ids(100, 6), sequence, ids(31, 7)], "hidden")
    got = got.view(-1, 768)[100 : 100 + len(sequence)]
    config = reference.read_config(directory)
    tensors = load_file(directory / "model.safetensors", device="cuda")
    for fault in (None, "no-rope", "swapped-thetas", "no-yarn", "no-window", "window-63"):
        with torch.device("cuda"):
            model = reference.Reference(config, tensors, torch.float32, [fault] if fault else [])
            expected = model.hidden(sequence)
        cosine = least_cosine(got, expected)
        fine = cosine >= LEAST_COSINE if fault is None else cosine < LEAST_COSINE
        table.row(f"4096 tokens against a reference with {fault or 'no fault'}", f"{cosine:.6f}", fine)


@torch.inference_mode()
def heads(args, table):
    labels = ",".join(f"L{n}" for n in range(9))
    sequences = [ids(length, 2000 + length) for length in SHORT]
    cases = [
        ("sequence labels", init(args, "classify", "--head", "classify", "--labels", labels), "mean"),
        ("token labels", init(args, "tag", "--head", "tag", "--labels", labels), "all"),
        ("masked tokens", init(args, "mlm", "--head", "masked-lm"), "first"),
    ]
    for name, directory, wanted in cases:
        _, model = load(directory, "cuda")
        expected = []
        for sequence in sequences:
            logits = model(torch.tensor([sequence], device="cuda")).logits[0]
            expected.append(logits[:1] if wanted == "first" else logits.view(-1, logits.shape[-1]))
        expected = torch.cat(expected)
        got = rows(args, directory, "checkpoint", sequences, wanted).view(expected.shape)
        best = expected.topk(2, dim=-1).values
        clear = (best[:, 0] - best[:, 1]) > CLEAR_MARGIN
        same = got.argmax(-1) == expected.argmax(-1)
        wrong = (clear & ~same).sum().item()
        worst = (got - expected).abs().max().item()
        table.row(
            f"{name}: argmax differs, of {clear.sum().item()} clear of {len(clear)} rows",
            f"{wrong} (logits {worst:.4f})",
            wrong == 0,
        )
        del model
        torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bigbatch", required=True)
    parser.add_argument("--xtask", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--on", default="bf16", choices=["bf16", "f16"])
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, TF32 off, {torch.cuda.get_device_name()}")
    table = Table()
    hidden(args, table)
    faults(args, table)
    heads(args, table)
    return 1 if table.bad else 0


if __name__ == "__main__":
    sys.exit(main())
