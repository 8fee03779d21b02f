"""Trains `embedded:jailbreak`: is a text a prompt injection, or does it contain one?

    python3 python/train/jailbreak.py --data DATA --encoder encoder.pt --out OUT

Half of the loss is on short texts: s-labs, neuralchemy, and everyday requests of CLINC150 and everyday.py as
benign ones. The other half is on 256 to 32768 tokens of real prose, with or without a planted injection; benign
sentences are planted in both, so that a foreign sentence alone is no evidence.
"""

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForSequenceClassification

import encoder
import figures
import texts
from command import arguments, evaluate_rows, logits_of

LABELS = ["benign", "injection"]
LONGEST_PLANTED = 160
LONGEST_SHORT = 1024
EVERYDAY = 6000
SHORT_PROSE = 3000


class Planter:
    """Makes long training examples."""

    def __init__(self, tok, data, rows, everyday):
        self.tok = tok
        self.prose = texts.Prose(tok, texts.read(data, "prose-train"))
        fits = [r for r in rows if len(r["text"]) < 4 * LONGEST_PLANTED]
        self.injections = [r["text"] for r in fits if r["label"] == 1]
        self.benign = [r["text"] for r in fits if r["label"] == 0] + everyday

    def piece(self, pool, rng):
        text = texts.vary(pool[int(rng.integers(len(pool)))], rng)
        return texts.ids_of(self.tok, [texts.as_planted(text, rng)], special=False)[0][:LONGEST_PLANTED]

    def batch(self, length, count, rng):
        rows, labels = [], []
        for i in range(count):
            label = int(rng.integers(2))
            pools = [self.injections] * (label * (1 + (rng.random() < 0.15)))
            pools += [self.benign] * int(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))
            pieces = [self.piece(pool, rng) for pool in pools]
            while sum(map(len, pieces)) > length - 64:
                pieces.pop()
            if label and not pieces:
                pieces, label = [], 0
            rng.shuffle(pieces)
            rows.append(self.prose.planted(length, pieces, rng)[0])
            labels.append(label)
        return torch.from_numpy(np.stack(rows)), torch.tensor(labels)


def short_rows(data, rng):
    rows = texts.read(data, "jailbreak-train")
    requests = [r["text"] for r in texts.read(data, "intent-train")]
    prose = texts.read(data, "prose-train")
    capitals = texts.Capitals([r["text"] for r in prose + rows])
    everyday = [capitals.typed(requests[i], rng) for i in rng.permutation(len(requests))[:EVERYDAY]]
    everyday += [r["text"] for r in texts.read(data, "everyday-train")]
    rows += [{"text": t, "label": 0, "source": "everyday"} for t in everyday]
    blocks = [b.strip() for r in prose for b in r["text"].split("\n\n")]
    blocks = [b for b in blocks if 40 < len(b) < 1500]
    rows += [{"text": blocks[i], "label": 0, "source": "prose"} for i in rng.permutation(len(blocks))[:SHORT_PROSE]]
    return rows, everyday


def best_threshold(scores, labels):
    """Returns the threshold of the highest F1, the middle one of several."""
    tries = np.linspace(0.05, 0.95, 181)
    values = [figures.f1_of(*counts_at(scores, labels, t).sum(0)) for t in tries]
    best = np.flatnonzero(np.isclose(values, max(values)))
    return float(tries[best[len(best) // 2]])


def counts_at(scores, labels, threshold):
    found = scores >= threshold
    return np.stack([found & (labels == 1), found & (labels == 0), ~found & (labels == 1)], 1).astype(int)


def evaluate(model, tok, data, device):
    """Returns figures on every split and source; `at_half` is for the argmax, which the program answers."""
    figures_of, kept = {}, {}
    for split in ("validation", "test"):
        for source in ("s-labs", "neuralchemy"):
            rows = [r for r in texts.read(data, f"jailbreak-{split}") if r["source"] == source]
            probabilities = evaluate_rows(model, texts.ids_of(tok, [r["text"] for r in rows]), device)
            kept[split, source] = probabilities, np.array([r["label"] for r in rows])
    scores = np.concatenate([kept["validation", s][0][:, 1] for s in ("s-labs", "neuralchemy")])
    threshold = best_threshold(scores, np.concatenate([kept["validation", s][1] for s in ("s-labs", "neuralchemy")]))
    for (split, source), (probabilities, labels) in kept.items():
        found = probabilities.argmax(1)
        figures_of[f"{source} {split}"] = {
            "f1_at_half": figures.f1(counts_at(probabilities[:, 1], labels, 0.5)),
            "f1_at_threshold": figures.f1(counts_at(probabilities[:, 1], labels, threshold)),
            "accuracy": figures.wilson(int((found == labels).sum()), len(labels)),
            "confusion": figures.confusion(labels, found, LABELS),
        }
    requests = [r["text"] for r in texts.read(data, "intent-test")]
    said = evaluate_rows(model, texts.ids_of(tok, requests), device)[:, 1]
    figures_of["clinc150 test, all benign"] = {"false_positives_at_half": figures.wilson(int((said >= 0.5).sum()), len(said))}
    return figures_of, threshold, [p for p, _ in kept.values()]


def validation_score(model, sets, device):
    return np.mean([figures.f1_of(*counts_at(evaluate_rows(model, ids, device)[:, 1], labels, 0.5).sum(0)) for ids, labels in sets])


def main():
    args = arguments(steps=3000, limit_s=330)
    device, rng = args.device, np.random.default_rng(21)
    tok = texts.tokenizer(args.data)
    rows, everyday = short_rows(args.data, rng)
    planter = Planter(tok, args.data, rows, everyday)
    labels = torch.tensor([r["label"] for r in rows])
    lengths = np.minimum([len(r["text"]) for r in rows], 4 * LONGEST_SHORT)
    held = texts.read(args.data, "jailbreak-validation")
    sets = []
    for source in ("s-labs", "neuralchemy"):
        part = [r for r in held if r["source"] == source]
        sets.append((texts.ids_of(tok, [r["text"] for r in part]), np.array([r["label"] for r in part])))
    model = encoder.build(ModernBertForSequenceClassification, device, args.pretrained, seed=21, num_labels=2)
    opt = encoder.Optimiser(model, args.steps, 1e-3, args.limit_s)
    order = texts.batches(lengths, args.batch, rng)
    checkpoints = encoder.Checkpoints(opt, args.steps, lambda: validation_score(model, sets, device))
    while not opt.done():
        index = next(order)
        short = texts.ids_of(tok, [texts.vary(rows[i]["text"], rng) for i in index])
        ids, valid = texts.padded([s[:LONGEST_SHORT] for s in short], device)
        length, count = texts.long_length(rng, args.long_tokens)
        long_ids, long_labels = planter.batch(length, count, rng)
        with encoder.autocast(device):
            near = F.cross_entropy(logits_of(model, ids, valid).float(), labels[index].to(device), label_smoothing=0.05)
            far = F.cross_entropy(logits_of(model, long_ids.to(device), None).float(), long_labels.to(device), label_smoothing=0.02)
        opt.step(near + far)
        checkpoints.consider()
    checkpoints.restore()
    encoder.export(model, args.data, args.out, LABELS)
    narrow = encoder.reopen(ModernBertForSequenceClassification, args.out, device)
    by_split, threshold, probabilities = evaluate(narrow, tok, args.data, device)
    wide = evaluate(encoder.plain(model), tok, args.data, device)[2]
    figures.save(
        args.out,
        {
            "model": "jailbreak",
            "threshold": threshold,
            "held_out": by_split,
            "f16_against_f32": figures.precision_check(wide, probabilities),
            "validation": checkpoints.history,
            "training": opt.report() | {"encoder": args.encoder_report},
        },
    )


if __name__ == "__main__":
    main()
