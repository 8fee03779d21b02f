"""Trains `embedded:jailbreak`: is a text a prompt injection, or does it contain one?

    python3 python/train/jailbreak.py --data DATA --encoder encoder.pt --out OUT

Every step reads short texts: s-labs and neuralchemy, harmless texts of every kind (harmless.py), generated
attacks (attacks.py), documents with personal data, everyday sentences and requests, and prose. Every second step also
reads 256 to 32768 tokens of prose and of harmless texts laid end to end, with or without a planted injection; benign
sentences are planted in both, so that a foreign sentence alone is no evidence.

The program answers with the likelier label, so the bias of the last layer is moved until 0.5 is the threshold of
the lowest cost on validation texts, where a false alarm on a harmless text costs more than a missed attack.
"""

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForSequenceClassification

import attacks
import encoder
import figures
import harmless
import texts
from command import arguments, evaluate_rows, logits_of

LABELS = ["benign", "injection"]
LONGEST_PLANTED = 160
LONGEST_SHORT = 1024
EVERYDAY = 15_000
SHORT_PROSE = 3000
PERSONAL = 12_000
MOSAIC = 40
"""Harmless texts per document of them."""
WORKERS = 4
HIDDEN = 0.1
"""Share of tokens that are masked in half of the short texts, so that the model relies on no single word."""
SHARES = {"public": 0.45, "harmless": 0.30, "attacks": 0.12, "everyday": 0.05, "prose": 0.02, "personal": 0.03, "sentences": 0.03}
SETS = ("s-labs", "neuralchemy", "harmless", "attacks")
FALSE_ALARM_COST = 2.0
"""What a share of harmless texts called attacks costs beside the same share of missed attacks."""
DECORATED = {"harmless", "attacks", "sentences", "everyday"}
NOT_PLANTED = {"short", "encoded"}
"""Kinds of attacks that are too short to be found among other words, or that are no sentence."""


class Planter:
    """Makes long training examples."""

    def __init__(self, tok, data, rows):
        self.tok = tok
        pieces = [r["text"] for r in rows if r["source"] == "harmless"]
        mosaics = [{"text": "\n".join(pieces[i : i + MOSAIC]), "source": "harmless"} for i in range(0, len(pieces), MOSAIC)]
        self.prose = texts.Prose(tok, texts.read(data, "prose-train") + mosaics)
        fits = [r for r in rows if len(r["text"]) < 4 * LONGEST_PLANTED and r.get("kind") not in NOT_PLANTED]
        self.injections = {s: [r["text"] for r in fits if r["label"] == 1 and (r["source"] == "attacks") == (s == "attacks")] for s in ("attacks", "public")}
        self.benign = {s: [r["text"] for r in fits if r["label"] == 0 and (r["source"] == "harmless") == (s == "harmless")] for s in ("harmless", "other")}

    def piece(self, pools, rng):
        pool = pools[sorted(pools)[int(rng.integers(2))]]
        text = texts.vary(pool[int(rng.integers(len(pool)))], rng)
        return texts.ids_of(self.tok, [texts.as_planted(text, rng)], special=False)[0][:LONGEST_PLANTED]

    def batch(self, length, count, rng):
        rows, labels = [], []
        for _ in range(count):
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
    """Returns the short training texts, each with its label and its source, a key of SHARES."""
    rows = [r | {"source": "public"} for r in texts.read(data, "jailbreak-train")]
    requests = [r["text"] for r in texts.read(data, "intent-train")]
    prose = texts.read(data, "prose-train")
    capitals = texts.Capitals([r["text"] for r in prose + rows])
    everyday = [capitals.typed(requests[i], rng) for i in rng.permutation(len(requests))[:EVERYDAY]]
    everyday += [r["text"] for r in texts.read(data, "everyday-train")]
    blocks = [b.strip() for r in prose for b in r["text"].split("\n\n")]
    blocks = [b for b in blocks if 40 < len(b) < 1500]
    personal = [r for r in texts.read(data, "pii-train") if "kind" not in r]
    benign = {
        "everyday": everyday,
        "prose": [blocks[i] for i in rng.permutation(len(blocks))[:SHORT_PROSE]],
        "personal": [personal[i]["text"] for i in rng.permutation(len(personal))[:PERSONAL]],
        "sentences": [r["text"] for r in texts.read(data, "sentences-train")],
    }
    rows += [{"text": t, "label": 0, "source": source} for source, many in benign.items() for t in many]
    rows += [r | {"label": 0, "source": "harmless"} for r in texts.read(data, "harmless-train")]
    return rows + [r | {"label": 1, "source": "attacks"} for r in texts.read(data, "attacks-train")]


class Steps(torch.utils.data.Dataset):
    """Makes the batch of each step. It depends on the step's number alone, not on the process that makes it."""

    def __init__(self, tok, rows, planter, args, rng):
        self.tok, self.rows, self.planter, self.args = tok, rows, planter, args
        lengths = np.array([len(r["text"].encode()) for r in rows])
        source = np.array([r["source"] for r in rows])
        pools = [(share, np.flatnonzero(source == s)) for s, share in SHARES.items() if s not in ("harmless", "attacks")]
        for name, weights in (("harmless", harmless.KINDS), ("attacks", attacks.KINDS)):
            pools += texts.by_kind([r if r["source"] == name else {} for r in rows], SHARES[name], weights)
        order = texts.mixed_batches(lengths, pools, args.batch, rng)
        self.order = [next(order) for _ in range(args.steps)]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, step):
        rng = np.random.default_rng([21 + self.args.seed, step])
        rows = [self.rows[i] for i in self.order[step]]
        short = texts.ids_of(self.tok, [(texts.decorated if r["source"] in DECORATED else texts.vary)(r["text"], rng) for r in rows])
        ids, valid = texts.padded([s[: self.args.longest] for s in short], "cpu")
        hidden = (rng.random((len(ids), 1)) < 0.5) & (rng.random(ids.shape) < HIDDEN)
        ids = ids.masked_fill(torch.from_numpy(hidden) & (ids > texts.MASK), texts.MASK)
        long = self.planter.batch(*texts.long_length(rng, self.args.long_tokens), rng) if step % self.args.long_every == 0 else None
        return ids, valid, torch.tensor([r["label"] for r in rows]), long


def counts_at(scores, labels, threshold):
    found = scores >= threshold
    return np.stack([found & (labels == 1), found & (labels == 0), ~found & (labels == 1)], 1).astype(int)


def held_rows(data, split):
    """Returns the held-out texts of each set; the generated sets have none for the test."""
    rows = texts.read(data, f"jailbreak-{split}")
    sets = {source: [r for r in rows if r["source"] == source] for source in SETS[:2]}
    if split == "validation":
        sets["harmless"] = [r | {"label": 0} for r in texts.read(data, "harmless-validation")]
        sets["attacks"] = [r | {"label": 1} for r in texts.read(data, "attacks-validation")]
    return sets


def encoded(tok, sets):
    return {s: ([i[:LONGEST_SHORT] for i in texts.ids_of(tok, [r["text"] for r in rows])], np.array([r["label"] for r in rows])) for s, rows in sets.items()}


def cost(scores, labels, threshold):
    """Returns the cost of a threshold; all arguments but the last are by set."""
    f1 = [figures.f1_of(*counts_at(scores[s], labels[s], threshold).sum(0)) for s in SETS[:2]]
    return 2 - sum(f1) + FALSE_ALARM_COST * (scores["harmless"] >= threshold).mean() + (scores["attacks"] < threshold).mean()


def best_threshold(scores, labels):
    """Returns the threshold of the lowest cost, the middle one of several."""
    tries = 1 / (1 + np.exp(-np.linspace(-4, 4, 321)))
    costs = np.array([cost(scores, labels, t) for t in tries])
    best = np.flatnonzero(np.isclose(costs, costs.min()))
    return float(tries[best[len(best) // 2]])


@torch.no_grad()
def move_threshold(model, threshold):
    """Changes the bias so that a text which scored `threshold` scores 0.5."""
    model.classifier.bias[1] -= np.log(threshold / (1 - threshold))


def evaluate(model, tok, data, device, splits=("test", "validation")):
    """Returns figures of every split and set for the argmax, which the program answers."""
    figures_of, kept = {}, []
    for split in splits:
        held = held_rows(data, split)
        for name, (ids, labels) in encoded(tok, held).items():
            probabilities = evaluate_rows(model, ids, device)
            kept.append(probabilities)
            found = probabilities.argmax(1)
            if name in SETS[2:]:
                kinds = np.array([r["kind"] for r in held[name]])
                wrong = found != labels
                by_kind = {k: [int(wrong[kinds == k].sum()), int((kinds == k).sum())] for k in sorted(set(kinds.tolist()))}
                figures_of[f"{name} {split}"] = {"wrong": figures.wilson(int(wrong.sum()), len(wrong)), "by_kind": by_kind}
                continue
            figures_of[f"{name} {split}"] = {
                "f1_at_half": figures.f1(counts_at(probabilities[:, 1], labels, 0.5)),
                "accuracy": figures.wilson(int((found == labels).sum()), len(labels)),
                "confusion": figures.confusion(labels, found, LABELS),
            }
    requests = [r["text"] for r in texts.read(data, "intent-test")]
    said = evaluate_rows(model, texts.ids_of(tok, requests), device)[:, 1]
    figures_of["clinc150 test, all benign"] = {"false_positives_at_half": figures.wilson(int((said >= 0.5).sum()), len(said))}
    return figures_of, kept


def main():
    args = arguments(steps=3600, limit_s=320, peak=1.5e-3, batch=256)
    device, rng = args.device, np.random.default_rng(21 + args.seed)
    tok = texts.tokenizer(args.tokenizer)
    rows = short_rows(args.data, rng)
    steps = Steps(tok, texts.short(rows, args.longest), Planter(tok, args.data, rows), args, rng)
    steps = texts.loader(steps, device, WORKERS)
    held = encoded(tok, held_rows(args.data, "validation"))
    labels = {s: y for s, (_, y) in held.items()}
    model = encoder.build(ModernBertForSequenceClassification, device, args.pretrained, seed=21, num_labels=2)
    opt = encoder.Optimiser(model, args.steps, args.peak, args.limit_s)

    def scores():
        return {s: evaluate_rows(model, ids, device)[:, 1] for s, (ids, _) in held.items()}

    looked = []

    def score():
        looked.append(scores())
        return -cost(looked[-1], labels, best_threshold(looked[-1], labels))

    checkpoints = encoder.Checkpoints(opt, args.steps, score, args.looks)
    put = lambda tensor: tensor.to(device, non_blocking=True)
    for ids, valid, short_labels, long in steps:
        with encoder.autocast(device):
            loss = F.cross_entropy(logits_of(model, put(ids), put(valid)).float(), put(short_labels), label_smoothing=0.02)
            if long is not None:
                loss = loss + F.cross_entropy(logits_of(model, put(long[0]), None).float(), put(long[1]), label_smoothing=0.02)
        opt.step(loss)
        checkpoints.consider()
        if opt.done():
            break
    checkpoints.restore()
    threshold = best_threshold(looked[checkpoints.best_look], labels)
    move_threshold(model, threshold)
    encoder.export(model, args.tokenizer, args.out, LABELS)
    narrow = encoder.reopen(ModernBertForSequenceClassification, args.out, device)
    by_split, probabilities = evaluate(narrow, tok, args.data, device)
    wide = evaluate(encoder.plain(model), tok, args.data, device, ["test"])[1]
    figures.save(
        args.out,
        {
            "model": "jailbreak",
            "threshold": 0.5,
            "threshold_before_the_bias": threshold,
            "held_out": by_split,
            "f16_against_f32": figures.precision_check(wide, probabilities[: len(wide)]),
            "validation": checkpoints.history,
            "training": opt.report() | args.begun,
        },
    )


if __name__ == "__main__":
    main()
