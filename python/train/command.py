"""Arguments of the training commands, and probabilities of many texts."""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file

import encoder
import texts


def started(directories):
    """Returns the mean of the weights of model directories, which fine-tuning starts from, and a record of them for metrics.json."""
    records, models = [], []
    for directory in directories:
        path = directory / "model.safetensors"
        trained = json.loads((directory / "metrics.json").read_text())
        records.append({"model": trained["model"], "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "training": trained["training"]})
        models.append({k: v.float() for k, v in load_file(path).items()})
    return {k: torch.stack([m[k] for m in models]).mean(0) for k in models[0]}, records


def arguments(steps, limit_s, peak, batch=192):
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="directory written by prepare_data.py")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--encoder", type=pathlib.Path, help="file written by pretrain.py; without it training starts from random weights")
    begin.add_argument("--start", type=pathlib.Path, nargs="+", help="directories of trained models; training starts from their mean weights and the first one's tokenizer")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=steps, help="0 with --start: only average, choose the threshold, and measure")
    parser.add_argument("--limit-s", type=float, default=limit_s)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--peak", type=float, default=peak, help="highest learning rate")
    parser.add_argument("--long-tokens", type=int, default=32768, help="tokens of long text per step, and the length of the longest text")
    parser.add_argument("--longest", type=int, default=1024, help="tokens of the longest of the other texts; far longer ones are left out")
    parser.add_argument("--long-every", type=int, default=2, help="steps per one that reads long text too")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other batches")
    parser.add_argument("--looks", type=int, default=6, help="validation is looked at in all parts of the steps but the first, of so many")
    parser.add_argument("--rows", type=int, help="for a trial: read only this many rows of each file")
    args = parser.parse_args()
    texts.ROWS = args.rows
    args.device = "cuda" if torch.cuda.is_available() else "cpu"
    args.tokenizer = args.start[0] if args.start else args.data
    args.pretrained, args.begun = None, {k: getattr(args, k) for k in ("batch", "peak", "longest", "long_tokens", "long_every", "seed")}
    args.begun["device"] = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    if args.start:
        args.pretrained, args.begun["start"] = started(args.start)
    elif args.encoder:
        saved = torch.load(args.encoder, weights_only=True)
        args.pretrained, args.begun["encoder"] = saved["state"], saved["report"]
    return args


def logits_of(model, ids, valid):
    """Computes logits as ModernBertForSequenceClassification does with `cls` pooling."""
    return model.classifier(model.drop(model.head(encoder.hidden(model, ids, valid)[:, 0])))


@torch.no_grad()
def evaluate_rows(model, rows, device, tokens=65536, f=lambda out, valid: out.logits.softmax(-1)):
    """Returns f32 probabilities of each text in the order of the rows; batches are made by length."""
    tokens = tokens if device == "cuda" else min(tokens, 8192)
    order = np.argsort([len(r) for r in rows], kind="stable")
    results, start = [None] * len(rows), 0
    while start < len(order):
        count = 1
        while start + count < len(order) and (count + 1) * len(rows[order[start + count]]) <= tokens:
            count += 1
        index = order[start : start + count]
        ids, valid = texts.padded([rows[i] for i in index], device)
        if model.config._attn_implementation == "training":
            out = f(_Logits(logits_any(model, ids, valid)), valid)
        else:
            out = f(model(input_ids=ids, attention_mask=valid.long()), valid)
        for i, row in zip(index, out.float().cpu().numpy()):
            results[i] = row
        start += count
    same = {r.shape for r in results}
    return np.stack(results) if len(same) == 1 else results


class _Logits:
    def __init__(self, logits):
        self.logits = logits


def logits_any(model, ids, valid):
    if type(model).__name__ == "ModernBertForSequenceClassification":
        return logits_of(model, ids, valid)
    return model.classifier(model.drop(model.head(encoder.hidden(model, ids, valid))))
