"""Trains `embedded:embed`: sentence vectors (the mean over tokens) that are still a masked language model.

    python3 python/train/embed.py --data DATA --encoder encoder.pt --out OUT

The loss is contrastive (InfoNCE), over two requests of one CLINC150 intent or two wordings of one meaning
(meanings.txt), over titles and questions with their passages, and over neighbouring passages of prose. Thirty
intents and twenty meanings are left out of training: their figures are how the model ranks requests of an unseen
kind. Ranking by shared words (TF-IDF) is measured beside it, and how often the plainest facts are filled in.
"""

import collections
import math

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForMaskedLM

import encoder
import facts
import figures
import texts
from command import arguments
from intent import greeted
from pretrain import mlm_loss


class Steps(torch.utils.data.Dataset):
    """Makes the texts of each step: pairs to contrast with their groups, and texts to mask. They depend on the step's
    number alone."""

    def __init__(self, tok, data, groups, args):
        self.tok, self.args = tok, args
        prose_rows = texts.read(data, "prose-train")
        self.prose, self.capitals = texts.Prose(tok, prose_rows).ids, texts.Capitals(r["text"] for r in prose_rows)
        self.lines = [line for r in texts.read(data, "plain-train") for line in r["text"].split("\n") if line]
        self.pairs = texts.read(data, "passages-train")
        self.group_of = {g: i for i, g in enumerate(sorted({r["group"] for r in self.pairs if r["source"] == "everyday"}))}
        self.requests = list(groups.values())
        wordings = collections.defaultdict(lambda: collections.defaultdict(list))
        for row in texts.read(data, "sentences-train"):
            if row["role"] == "wording":
                wordings[row["meaning"]][row["line"]].append(row["text"])
        self.wordings = [list(lines.values()) for lines in wordings.values() if len(lines) > 1]

    def __len__(self):
        return self.args.steps

    def two(self, kind, rng):
        """Returns two texts of a kind: an intent's requests, or a meaning's wordings of different lines."""
        if kind < len(self.requests):
            chosen = self.requests[kind]
            return [self.capitals.typed(greeted(chosen[i], rng), rng) for i in rng.choice(len(chosen), 2, replace=False)]
        lines = self.wordings[kind - len(self.requests)]
        return [texts.vary(lines[i][int(rng.integers(len(lines[i])))], rng) for i in rng.choice(len(lines), 2, replace=False)]

    def __getitem__(self, step):
        rng, size, prose = np.random.default_rng([51 + self.args.seed, step]), self.args.batch, self.prose
        picked = rng.integers(0, len(self.requests) + len(self.wordings), size)
        requests = [t for pair in zip(*(self.two(k, rng) for k in picked)) for t in pair]
        pairs = [self.pairs[i] for i in rng.integers(0, len(self.pairs), size)]
        answered = [r["query"] for r in pairs] + [r["text"] for r in pairs]
        pair_groups = [self.group_of.get(r["group"], len(self.group_of) + i) for i, r in enumerate(pairs)]
        starts = rng.integers(0, len(prose) - 2 * PASSAGE, size)
        gaps = rng.integers(0, PASSAGE, size)
        passage = lambda s: np.concatenate([[texts.CLS], prose[s : s + PASSAGE], [texts.SEP]])
        passages = [passage(s) for s in starts] + [passage(min(s + PASSAGE + g, len(prose) - PASSAGE)) for s, g in zip(starts, gaps)]
        contrasts = []
        for rows, group in ((texts.ids_of(self.tok, requests), picked), (texts.ids_of(self.tok, answered), np.array(pair_groups)), (passages, np.arange(size))):
            contrasts.append((*texts.padded([r[:LONGEST] for r in rows], "cpu"), torch.from_numpy(group)))
        long = np.stack([prose[s : s + 256] for s in rng.integers(0, len(prose) - 256, max(1, size // 16))])
        lines = texts.ids_of(self.tok, [self.lines[i] for i in rng.integers(0, len(self.lines), SHORT_LINES)])
        return contrasts, torch.from_numpy(long), texts.padded([r[:LONGEST] for r in lines], "cpu")

TEMPERATURE = 0.05
UNSEEN = 30
PASSAGE = 48
LONGEST = 128
SHORT_LINES = 96
WEIGHTS = [1.5, 0.75, 0.75]
"""What requests and wordings, questions with passages, and neighbouring prose count."""
WORKERS = 3


def mean_of(rows, valid):
    weights = valid[..., None].float()
    return F.normalize((rows.float() * weights).sum(1) / weights.sum(1), dim=-1)


def contrast(a, b, group):
    """Contrastive loss of each row of `a` with its own of `b`; others of the same group are not negatives."""
    scores = a @ b.T / TEMPERATURE
    same = (group[:, None] == group[None, :]) & ~torch.eye(len(group), dtype=torch.bool, device=group.device)
    scores = scores.masked_fill(same, -1e4)
    target = torch.arange(len(group), device=group.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


@torch.no_grad()
def vectors(model, rows, device):
    out = []
    for i in range(0, len(rows), 512):
        ids, valid = texts.padded(rows[i : i + 512], device)
        if model.config._attn_implementation == "training":
            hidden = encoder.hidden(model, ids, valid)
        else:
            hidden = model.model(input_ids=ids, attention_mask=valid.long()).last_hidden_state
        out.append(mean_of(hidden, valid).cpu())
    return torch.cat(out)


def tf_idf(documents, queries):
    known = collections.Counter(w for d in documents for w in set(d.lower().split()))
    index = {w: i for i, w in enumerate(known)}

    def matrix(rows):
        out = torch.zeros(len(rows), len(index))
        for i, row in enumerate(rows):
            for w in row.lower().split():
                if w in index:
                    out[i, index[w]] += math.log(len(documents) / known[w])
        return F.normalize(out, dim=-1)

    return matrix(queries), matrix(documents)


def ranking(queries, documents, query_group, document_group):
    """Returns how often the nearest document is of the query's intent, and the mean reciprocal rank of the first that is."""
    scores = queries @ documents.T
    right = query_group[:, None] == document_group[None, :]
    top = right[torch.arange(len(queries)), scores.argmax(1)]
    best = scores.masked_fill(~right, -2).amax(1)
    rank = 1 + ((scores > best[:, None]) & ~right).sum(1)
    return {"nearest_is_right": figures.wilson(int(top.sum()), len(top)), "mean_reciprocal_rank": float((1 / rank).mean())}


@torch.no_grad()
def filled(model, tok, device):
    """Returns how often the plainest facts, in wordings that no training text has, are filled in, by kind of fact."""
    hits = collections.defaultdict(list)
    skipped = 0
    for kind, _, answer, masked in facts.facts("test"):
        right = tok.encode(" " + answer, add_special_tokens=False).ids
        if len(right) > 1:
            skipped += 1
            continue
        ids = torch.tensor([tok.encode(masked).ids], device=device)
        place = int((ids[0] == texts.MASK).nonzero()[0])
        best = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, place].topk(5).indices.tolist()
        hits[kind].append((best[0] == right[0], right[0] in best))
    share = lambda rows, i: figures.wilson(sum(r[i] for r in rows), len(rows))
    rows = [r for many in hits.values() for r in many]
    found = {"first": share(rows, 0), "among_five": share(rows, 1), "answers_of_several_tokens": skipped}
    return found | {"by_kind": {k: [sum(r[0] for r in many), len(many)] for k, many in hits.items()}}


def main():
    args = arguments(steps=2200, limit_s=330, peak=1e-3, batch=256)
    device = args.device
    tok = texts.tokenizer(args.tokenizer)
    splits = {s: [r for r in texts.read(args.data, f"intent-{s}") if r["label"] != "oos"] for s in ("train", "validation", "test")}
    names = sorted({r["label"] for r in splits["train"]})
    unseen = {names[i] for i in np.random.default_rng(5).permutation(len(names))[:UNSEEN]}
    groups = {n: [r["text"] for r in splits["train"] if r["label"] == n] for n in names if n not in unseen}
    groups = {n: many for n, many in groups.items() if len(many) > 1}
    steps = texts.loader(Steps(tok, args.data, groups, args), device, WORKERS)
    model = encoder.build(ModernBertForMaskedLM, device, args.pretrained, seed=51)
    generator = torch.Generator(device).manual_seed(51)
    opt = encoder.Optimiser(model, args.steps, args.peak, args.limit_s)

    def held(split, inside):
        rows = [r for r in splits[split] if (r["label"] in unseen) != inside]
        return [r["text"] for r in rows], torch.tensor([names.index(r["label"]) for r in rows])

    def worded(split):
        """Returns documents and queries of the meanings of a split: the wordings of the first line, and all others."""
        rows = [r for r in texts.read(args.data, f"sentences-{split}") if r["role"] == "wording"]
        side = lambda first: [r for r in rows if (r["line"] == 0) == first]
        return tuple(([r["text"] for r in side(first)], torch.tensor([r["meaning"] for r in side(first)])) for first in (True, False))

    pairs = {"seen intents": (held("train", True), held("test", True)), "unseen intents": (held("train", False), held("test", False)), "unseen meanings": worded("test")}

    def score():
        v = lambda t: vectors(model, texts.ids_of(tok, t), device)
        found = []
        for (documents, dg), (queries, qg) in ((held("train", True), held("validation", True)), worded("validation")):
            found.append(ranking(v(queries), v(documents), qg, dg)["nearest_is_right"]["value"])
        return np.mean(found)

    put = lambda tensor: tensor.to(device, non_blocking=True)
    checkpoints = encoder.Checkpoints(opt, args.steps, score, args.looks)
    for contrasts, long, lines in steps:
        loss = 0.0
        with encoder.autocast(device):
            for weight, (ids, valid, group) in zip(WEIGHTS, contrasts):
                valid = put(valid)
                made = mean_of(encoder.hidden(model, put(ids), valid), valid)
                with torch.autocast(device, enabled=False):
                    loss = loss + weight * contrast(made[: args.batch], made[args.batch :], put(group))
            loss = loss + 0.5 * mlm_loss(model, put(long), generator) + mlm_loss(model, put(lines[0]), generator, put(lines[1]))
        opt.step(loss)
        checkpoints.consider()
        if opt.done():
            break
    checkpoints.restore()
    encoder.export(model, args.tokenizer, args.out)
    narrow = encoder.reopen(ModernBertForMaskedLM, args.out, device)
    result, agreement = {}, []
    for name, ((documents, dg), (queries, qg)) in pairs.items():
        ids = texts.ids_of(tok, documents), texts.ids_of(tok, queries)
        d, q = (vectors(narrow, i, device) for i in ids)
        result[name] = ranking(q, d, qg, dg) | {"tf_idf": ranking(*tf_idf(documents, queries), qg, dg)}
        agreement.append((q * vectors(encoder.plain(model), ids[1], device)).sum(-1))
    figures.save(
        args.out,
        {
            "model": "embed",
            "held_out": result,
            "facts": filled(narrow, tok, device),
            "unseen_intents": sorted(unseen),
            "f16_against_f32": {"min_cosine": float(torch.cat(agreement).min())},
            "validation": checkpoints.history,
            "training": opt.report() | args.begun,
        },
    )


if __name__ == "__main__":
    main()
