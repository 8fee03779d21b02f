"""Trains the shared encoder as a masked language model, on prose and the training texts of all tasks.

    python3 python/train/pretrain.py --data DATA --out encoder.pt
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForMaskedLM

import encoder
import texts
from tokenizer import VOCAB_SIZE

MASKED = 0.3


def task_stream(tok, data, rng):
    return stream_of(tok, data, ("jailbreak", "intent", "pii", "harmless", "attacks", "sentences", "passages"), rng)


def stream_of(tok, data, names, rng):
    """Returns the tokens of all training texts of some sets, in random order."""
    rows = [r["text"] for name in names for r in texts.read(data, f"{name}-train")]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    return np.concatenate([np.append(ids, texts.SEP) for ids in texts.ids_of(tok, rows, special=False)])


def mask_tokens(ids, generator):
    """Masks tokens by BERT's recipe: of the chosen, 80 % become [MASK], 10 % another token, 10 % stay."""
    chance = torch.rand(ids.shape, device=ids.device, generator=generator)
    chosen = (chance < MASKED) & (ids > texts.MASK)
    other = torch.randint(5, VOCAB_SIZE, ids.shape, device=ids.device, generator=generator)
    masked = torch.where(chosen & (chance < 0.8 * MASKED), torch.full_like(ids, texts.MASK), ids)
    masked = torch.where(chosen & (chance >= 0.9 * MASKED), other, masked)
    return masked, chosen


def mlm_loss(model, ids, generator, valid=None):
    masked, chosen = mask_tokens(ids, generator)
    rows = encoder.hidden(model, masked, valid)[chosen]
    return F.cross_entropy(model.decoder(model.head(rows)).float(), ids[chosen])


def windows(stream, length, count, rng):
    starts = rng.integers(0, len(stream) - length, count)
    rows = np.stack([stream[s : s + length] for s in starts])
    rows[:, 0], rows[:, -1] = texts.CLS, texts.SEP
    return torch.from_numpy(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--limit-s", type=float, default=150)
    parser.add_argument("--width", type=int, default=encoder.WIDTH, help="a multiple of 64, the width of a head")
    parser.add_argument("--layers", type=int, default=encoder.LAYERS, help="an even number")
    parser.add_argument("--rows", type=int, help="for a trial: read only this many rows of each file")
    args = parser.parse_args()
    texts.ROWS = args.rows
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rng = np.random.default_rng(11)
    tok = texts.tokenizer(args.data)
    prose = texts.Prose(tok, texts.read(args.data, "prose-train")).ids
    tasks, plain = task_stream(tok, args.data, rng), stream_of(tok, args.data, ["plain"], rng)
    print(f"pretrain: {len(prose)} tokens of prose, {len(plain)} of short texts, {len(tasks)} of the tasks, on {device}", flush=True)
    model = encoder.build(ModernBertForMaskedLM, device, seed=11, width=args.width, layers=args.layers)
    generator = torch.Generator(device).manual_seed(11)
    opt = encoder.Optimiser(model, args.steps, 3e-3, args.limit_s)
    while not opt.done():
        long = opt.step_number % 8 == 7
        stream = prose if long else (prose, tasks, plain, tasks, plain)[opt.step_number % 5]
        length = min(8192 if long else 512, args.tokens)
        ids = windows(stream, length, max(1, args.tokens // length), rng).to(device, non_blocking=True)
        with encoder.autocast(device):
            loss = mlm_loss(model, ids, generator)
        opt.step(loss)
    with opt.averaged():
        torch.save({"state": {k: v.cpu() for k, v in model.state_dict().items()}, "report": opt.report()}, args.out)
    print("pretrain:", opt.report(), flush=True)


if __name__ == "__main__":
    main()
