"""Runs `transformers` in float32 over a model directory, for comparison with bigbatch's answers.

    python3 python/goldens/parity.py MODEL_DIR --ids-file ids.json --out out.json [--rows 0,64,2047 | --rows all]

ids.json holds one list of token ids or a list of such lists, special tokens included. out.json gets one
object per list: `embedding_mean` and `embedding_cls` (L2-normalised), `hidden_rows`, and the head's `logits`,
or `logits_rows` if the head has one row per token; all as in the goldens' expected.json. The middle and the
last row are always included. The head is the one that `architectures` in config.json names;
`training_config.json` is honoured. TF32 is off; `--device cuda` runs on a GPU, also in float32.
"""

import argparse
import json
import pathlib

import torch
import transformers

import goldens
from modernbert_reference import read_config


def load(directory, device):
    config = read_config(directory)
    name = (config.get("architectures") or ["ModernBertModel"])[0]
    model, report = getattr(transformers, name).from_pretrained(
        directory,
        config=transformers.ModernBertConfig.from_dict(config),
        dtype=torch.float32,
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    if report["missing_keys"] or report["mismatched_keys"]:
        raise SystemExit(f"{directory}: the weights do not fit {name}: {report}")
    return {**config, "architectures": [name]}, model.eval().to(device)


def rows(text):
    return text if text == "all" else [int(i) for i in text.split(",")]


def result(config, model, ids, wanted):
    hidden, logits = goldens.outputs(model, ids)
    logits = None if logits is None else logits.cpu()
    positions = range(len(ids)) if wanted == "all" else wanted
    return {"tokens": len(ids), **goldens.summary(config, hidden.cpu(), logits, positions)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("--ids-file", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=rows, default=[0], help="positions, or all")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    transformers.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, {args.device}, float32, TF32 off")
    config, model = load(args.model_dir, args.device)
    lists = json.loads(args.ids_file.read_text())
    if lists and isinstance(lists[0], int):
        lists = [lists]
    lines = [json.dumps(result(config, model, ids, args.rows)) for ids in lists]
    args.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{args.out}: {len(lines)} results of {config['architectures'][0]}, {[len(i) for i in lists]} tokens")


if __name__ == "__main__":
    main()
