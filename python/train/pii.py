"""Trains `embedded:pii`: which characters of a text are personal data, as BIO labels of tokens.

    python3 python/train/pii.py --data DATA --encoder encoder.pt --out OUT

Every step reads short documents; every second step also reads 256 to 32768 tokens of real prose with such
documents planted. Prose is labelled O, but a novel's capitalised words are left out of the loss: some are names,
and no source labels them. Each document is changed every time it is read (pii_augment.py); other processes make
the batches while the model learns.
"""

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForTokenClassification

import encoder
import figures
import texts
from command import arguments, evaluate_rows, logits_any
from harmless import KINDS, NAMES_NOBODY
from pii_augment import Augment

TYPES = ["ADDRESS", "CREDIT_CARD", "DATE_OF_BIRTH", "EMAIL", "IBAN", "IP_ADDRESS", "PERSON", "PHONE", "SSN"]
LABELS = ["O"] + [f"{prefix}-{t}" for t in TYPES for prefix in "BI"]
IGNORED = -100
WORKERS = 6
HARMLESS_SHARE = 0.33
SPURIOUS_COST = 5.0
"""How much a share of harmless texts with an entity counts against F1, when weights and the bias are chosen."""
BIASES = [-1.5, -1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5]
"""What is tried as an addition to the logit of O, which makes the model slower to find something."""


def encode(tok, rows, special=True):
    """Returns token ids, labels and character offsets of documents."""
    out = []
    for row, e in zip(rows, tok.encode_batch([r["text"] for r in rows], add_special_tokens=special)):
        labels = np.zeros(len(e.ids), dtype=np.int64)
        begins, ends = np.array(e.offsets, dtype=np.int64).reshape(-1, 2).T
        for start, end, name in row["spans"]:
            inside = np.flatnonzero((ends > start) & (begins < end) & (ends > begins))
            labels[inside] = LABELS.index("I-" + name)
            labels[inside[:1]] = LABELS.index("B-" + name)
        if special:
            labels[[0, -1]] = IGNORED
        out.append((np.array(e.ids, dtype=np.int64), labels, e.offsets))
    return out


def entities(text, labels, offsets):
    """Merges labels into spans by the rule of the engine's `Entity`."""
    found, now = [], None
    for label, (start, end) in zip(labels, offsets):
        if end <= start:
            continue
        name = LABELS[label]
        if name == "O":
            now = None
        elif now is not None and name[0] == "I" and now[2] == name[2:]:
            now[1] = end
        else:
            now = [start, end, name[2:]]
            found.append(now)
    trimmed = []
    for start, end, name in found:
        raw = text[start:end]
        start += len(raw) - len(raw.lstrip())
        end -= len(raw) - len(raw.rstrip())
        if end > start:
            trimmed.append((start, end, name))
    return trimmed


class Planter:
    """Makes long training examples."""

    def __init__(self, tok, data, rows, augment):
        self.tok, self.rows, self.augment = tok, rows, augment
        self.prose = texts.Prose(tok, texts.read(data, "prose-train"))

    def piece(self, rng):
        row = self.augment(self.rows[int(rng.integers(len(self.rows)))], rng)
        before, after = [(" ", ""), ("\n", "\n"), ("\n\n", "\n\n"), ("\n\n", "")][int(rng.integers(4))]
        spans = [[s + len(before), e + len(before), n] for s, e, n in row["spans"]]
        return encode(self.tok, [{"text": before + row["text"] + after, "spans": spans}], special=False)[0]

    def batch(self, length, count, rng):
        ids, labels = [], []
        for _ in range(count):
            pieces, room = [], length // 2
            for _ in range(1 + int(rng.integers(1 + length // 400))):
                piece = self.piece(rng)
                if len(piece[0]) > room:
                    break
                room -= len(piece[0])
                pieces.append(piece)
            row, owner, offset, window = self.prose.planted(length, [p[0] for p in pieces], rng)
            in_prose = (owner < 0) & (offset >= 0)
            hidden = self.prose.maybe_name[window][np.where(in_prose, offset, 0)]
            target = np.where(in_prose & hidden, IGNORED, 0)
            for number, piece in enumerate(pieces):
                inside = owner == number
                target[inside] = piece[1][offset[inside]]
            target[[0, -1]] = IGNORED
            ids.append(row)
            labels.append(target)
        return torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(labels))


class Steps(torch.utils.data.Dataset):
    """Makes the batch of each step. It depends on the step's number alone, not on the process that makes it."""

    def __init__(self, tok, rows, planter, augment, args):
        self.tok, self.rows, self.planter, self.augment, self.args = tok, rows, planter, augment, args
        lengths = np.array([len(r["text"].encode()) for r in rows])
        documents = np.array([i for i, r in enumerate(rows) if "kind" not in r])
        pools = [(1 - HARMLESS_SHARE, documents), *texts.by_kind(rows, HARMLESS_SHARE, {k: KINDS[k] for k in NAMES_NOBODY})]
        order = texts.mixed_batches(lengths, pools, args.batch, np.random.default_rng(41 + args.seed))
        self.order = [next(order) for _ in range(args.steps)]

    def __len__(self):
        return len(self.order)

    def changed(self, row, rng):
        if "kind" not in row:
            return self.augment(row, rng)
        text = texts.decorated(row["text"], rng)
        return {"text": text, "spans": []} if rng.random() < 0.7 else self.augment({"text": text, "spans": []}, rng)

    def __getitem__(self, step):
        rng = np.random.default_rng([41 + self.args.seed, step])
        near = encode(self.tok, [self.changed(self.rows[i], rng) for i in self.order[step]])
        ids, valid = texts.padded([n[0][: self.args.longest] for n in near], "cpu")
        labels, _ = texts.padded([n[1][: self.args.longest] for n in near], "cpu", fill=IGNORED)
        long = None
        if self.args.long_tokens and step % self.args.long_every == 0:
            long = self.planter.batch(*texts.long_length(rng, self.args.long_tokens), rng)
        return ids, valid, labels, long


def loss_of(model, ids, labels, valid):
    logits = logits_any(model, ids, valid).float()
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def probabilities_of(model, encoded, device):
    return evaluate_rows(model, [e[0] for e in encoded], device, tokens=32768)


def count(rows, encoded, probabilities):
    """Returns (tp, fp, fn) of exact spans with the right type, per document and type."""
    counts = {t: [] for t in TYPES}
    pairs = np.zeros((len(TYPES) + 1, len(TYPES) + 1), int)
    for row, (ids, _, offsets), p in zip(rows, encoded, probabilities):
        truth = {tuple(s) for s in row["spans"]}
        found = set(entities(row["text"], p[: len(ids)].argmax(-1), offsets))
        for t in TYPES:
            a, b = {s for s in truth if s[2] == t}, {s for s in found if s[2] == t}
            counts[t].append((len(a & b), len(b - a), len(a - b)))
        by_place = {s[:2]: s[2] for s in found}
        for s in truth:
            said = by_place.get(s[:2])
            pairs[TYPES.index(s[2]), TYPES.index(said) if said else -1] += 1
        places = {s[:2] for s in truth}
        for s in found:
            pairs[-1, TYPES.index(s[2])] += s[:2] not in places
    return counts, pairs


def harmless_rows(data):
    """Returns validation texts of harmless.py that hold no personal data."""
    return [{"text": r["text"], "spans": [], "kind": r["kind"]} for r in texts.read(data, "harmless-validation") if r["kind"] in NAMES_NOBODY]


def spurious(rows, encoded, probabilities):
    """Returns for each text without personal data whether an entity was found."""
    return np.array([bool(entities(r["text"], p[: len(e[0])].argmax(-1), e[2])) for r, e, p in zip(rows, encoded, probabilities)])


def evaluate_harmless(model, tok, data, device):
    rows = harmless_rows(data)
    encoded = encode(tok, rows)
    found = spurious(rows, encoded, probabilities_of(model, encoded, device))
    kinds = np.array([r["kind"] for r in rows])
    by_kind = {k: [int(found[kinds == k].sum()), int((kinds == k).sum())] for k in sorted(set(kinds.tolist()))}
    return {"texts_where_some_was_found": figures.wilson(int(found.sum()), len(found)), "by_kind": by_kind}


def evaluate(model, tok, data, split, device):
    rows = texts.read(data, f"pii-{split}")
    encoded = encode(tok, rows)
    probabilities = probabilities_of(model, encoded, device)
    counts, pairs = count(rows, encoded, probabilities)
    per_document = np.array(list(counts.values())).sum(0)
    clean = [i for i, r in enumerate(rows) if not r["spans"]]
    result = {
        "entity_f1": figures.f1(per_document),
        "by_type": {t: figures.f1(c) for t, c in counts.items()},
        "documents_without_personal_data_where_some_was_found": figures.wilson(sum(per_document[i][1] > 0 for i in clean), len(clean)),
        "confusion": {"labels": TYPES + ["nothing, or other bounds"], "rows": pairs.tolist()},
    }
    return result, np.concatenate([p[: len(e[0])] for p, e in zip(probabilities, encoded)])


def main():
    args = arguments(steps=5600, limit_s=320, peak=2e-3, batch=224)
    device = args.device
    tok = texts.tokenizer(args.tokenizer)
    rows = texts.read(args.data, "pii-train")
    augment = Augment([r for r in rows if "kind" not in r])
    planter = Planter(tok, args.data, rows, augment) if args.long_tokens else None
    held = texts.read(args.data, "pii-validation")
    held_encoded = encode(tok, held)
    steps = texts.loader(Steps(tok, texts.short(rows, args.longest), planter, augment, args), device, WORKERS)
    model = encoder.build(ModernBertForTokenClassification, device, args.pretrained, seed=41, num_labels=len(LABELS))

    harmless = harmless_rows(args.data)
    harmless_encoded = encode(tok, harmless)

    def scores(biases):
        """Returns the score on validation texts with each of `biases` added to the logit of O."""
        said, said_harmless = (probabilities_of(model, e, device) for e in (held_encoded, harmless_encoded))
        found = []
        for bias in biases:
            factor = np.exp(bias * (np.arange(len(LABELS)) == 0))
            counts, _ = count(held, held_encoded, [p * factor for p in said])
            false = spurious(harmless, harmless_encoded, [p * factor for p in said_harmless]).mean()
            found.append(figures.f1_of(*np.array(list(counts.values())).sum((0, 1))) - SPURIOUS_COST * false)
        return found

    @torch.no_grad()
    def choose_bias():
        """Adds to the bias of O what gives the best score on validation texts."""
        found = scores(BIASES)
        best = BIASES[int(np.argmax(found))]
        model.classifier.bias[0] += best
        return {"added": best, "scores": dict(zip(map(str, BIASES), found))}

    put = lambda tensor: tensor.to(device, non_blocking=True)
    opt = encoder.Optimiser(model, args.steps, args.peak, args.limit_s)
    checkpoints = encoder.Checkpoints(opt, args.steps, lambda: scores([0.0])[0], args.looks)
    for ids, valid, labels, long in steps:
        with encoder.autocast(device):
            loss = loss_of(model, put(ids), put(labels), put(valid))
            if long is not None:
                loss = loss + loss_of(model, put(long[0]), put(long[1]), None)
        opt.step(loss)
        checkpoints.consider()
        if opt.done():
            break
    checkpoints.restore()
    bias = choose_bias()
    encoder.export(model, args.tokenizer, args.out, LABELS)
    narrow = encoder.reopen(ModernBertForTokenClassification, args.out, device)
    validation, _ = evaluate(narrow, tok, args.data, "validation", device)
    test, probabilities = evaluate(narrow, tok, args.data, "test", device)
    _, wide = evaluate(encoder.plain(model), tok, args.data, "test", device)
    figures.save(
        args.out,
        {
            "model": "pii",
            "held_out": {"validation": validation, "test": test, "harmless validation": evaluate_harmless(narrow, tok, args.data, device)},
            "f16_against_f32": figures.precision_check([wide], [probabilities]),
            "validation": checkpoints.history,
            "bias_of_o": bias,
            "training": opt.report() | args.begun,
        },
    )


if __name__ == "__main__":
    main()
