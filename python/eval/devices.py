"""Compares the labels that two devices give the test texts, such as bf16 on a GPU and f32 on the CPU.

    python3 python/eval/devices.py --data DATA --bigbatch target/release/bigbatch --devices cpu cuda

Every text of the held-out sets (every token for `pii`) is labelled on both devices. Prints a JSON object with
the share that agrees per model, and exits with 1 if a share is below 99.9 %.
"""

import argparse
import json
import lzma
import pathlib
import subprocess
import sys
import tempfile

LEAST = 0.999
SETS = {"jailbreak": "jailbreak-test", "intent": "intent-test", "pii": "pii-test"}


def labels(args, name, source, device, path):
    command = [str(args.bigbatch), "tag" if name == "pii" else "classify", "--model", source, "--device", device, "--json", "--input", str(path)]
    command += ["--all-tokens"] if name == "pii" else []
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    if name == "pii":
        return [label for answer in answers for label in answer["token_labels"]]
    return [answer["labels"][0]["label"] for answer in answers]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--bigbatch", type=pathlib.Path, required=True)
    parser.add_argument("--devices", nargs=2, default=["cpu", "cuda"])
    parser.add_argument("--models", nargs="+", default=[f"{name}=embedded:{name}" for name in SETS], metavar="NAME=SOURCE")
    parser.add_argument("--rows", type=int, help="for a trial: read only this many texts")
    args = parser.parse_args()
    args.bigbatch = args.bigbatch.resolve()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            name, source = model.split("=", 1)
            with lzma.open(args.data / f"{SETS[name]}.jsonl.xz", "rt", encoding="utf-8") as f:
                texts = [json.loads(line)["text"] for line in f][: args.rows]
            path = pathlib.Path(folder) / f"{name}.json"
            path.write_text(json.dumps(texts), encoding="utf-8")
            one, other = (labels(args, name, source, device, path) for device in args.devices)
            same = sum(a == b for a, b in zip(one, other, strict=True))
            results[name] = {"labels": len(one), "same": same, "share": same / len(one)}
    print(json.dumps({"devices": args.devices, "models": results}, indent=1))
    return 0 if all(r["share"] >= LEAST for r in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
