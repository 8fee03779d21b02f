"""Trains `embedded:embed`: sentence vectors (the mean over tokens) that are still a masked language model.

    python3 python/train/embed.py --data DATA --encoder encoder.pt --out OUT

The loss is contrastive (InfoNCE), over two requests of one CLINC150 intent and over neighbouring passages of
prose. Thirty intents are left out of training: their figures are how the model ranks requests of an unseen
kind. Ranking by shared words (TF-IDF) is measured beside it.
"""

import collections
import math

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForMaskedLM

import encoder
import figures
import texts
from command import arguments
from intent import greeted
from pretrain import mlm_loss

TEMPERATURE = 0.05
UNSEEN = 30
PASSAGE = 48


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


def main():
    args = arguments(steps=1600, limit_s=240, batch=256)
    device, rng = args.device, np.random.default_rng(51)
    tok = texts.tokenizer(args.data)
    splits = {s: [r for r in texts.read(args.data, f"intent-{s}") if r["label"] != "oos"] for s in ("train", "validation", "test")}
    names = sorted({r["label"] for r in splits["train"]})
    unseen = {names[i] for i in np.random.default_rng(5).permutation(len(names))[:UNSEEN]}
    groups = {n: [r["text"] for r in splits["train"] if r["label"] == n] for n in names if n not in unseen}
    keys = list(groups)
    prose_rows = texts.read(args.data, "prose-train")
    prose = texts.Prose(tok, prose_rows).ids
    capitals = texts.Capitals(r["text"] for r in prose_rows)
    model = encoder.build(ModernBertForMaskedLM, device, args.pretrained, seed=51)
    generator = torch.Generator(device).manual_seed(51)
    opt = encoder.Optimiser(model, args.steps, 8e-4, args.limit_s)

    def held(split, inside):
        rows = [r for r in splits[split] if (r["label"] in unseen) != inside]
        return [r["text"] for r in rows], torch.tensor([names.index(r["label"]) for r in rows])

    pairs = {"seen intents": (held("train", True), held("test", True)), "unseen intents": (held("train", False), held("test", False))}

    def score():
        (documents, dg), (queries, qg) = held("train", True), held("validation", True)
        v = lambda t: vectors(model, texts.ids_of(tok, t), device)
        return ranking(v(queries), v(documents), qg, dg)["nearest_is_right"]["value"]

    checkpoints = encoder.Checkpoints(opt, args.steps, score)
    while not opt.done():
        picked = rng.integers(0, len(keys), args.batch)
        two = [rng.choice(len(groups[keys[k]]), 2, replace=False) for k in picked]
        requests = [capitals.typed(greeted(groups[keys[k]][t[side]], rng), rng) for side in (0, 1) for k, t in zip(picked, two)]
        starts = rng.integers(0, len(prose) - 2 * PASSAGE, args.batch)
        gaps = rng.integers(0, PASSAGE, args.batch)
        passage = lambda s: np.concatenate([[texts.CLS], prose[s : s + PASSAGE], [texts.SEP]])
        passages = [passage(s) for s in starts] + [passage(min(s + PASSAGE + g, len(prose) - PASSAGE)) for s, g in zip(starts, gaps)]
        loss = 0.0
        with encoder.autocast(device):
            for rows, group in ((texts.ids_of(tok, requests), torch.from_numpy(picked)), (passages, torch.arange(args.batch))):
                ids, valid = texts.padded(rows, device)
                made = mean_of(encoder.hidden(model, ids, valid), valid)
                with torch.autocast(device, enabled=False):
                    loss = loss + contrast(made[: args.batch], made[args.batch :], group.to(device))
            text = np.stack([prose[s : s + 256] for s in rng.integers(0, len(prose) - 256, max(1, args.batch // 8))])
            loss = loss + 0.5 * mlm_loss(model, torch.from_numpy(text).to(device), generator)
        opt.step(loss)
        checkpoints.consider()
    checkpoints.restore()
    encoder.export(model, args.data, args.out)
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
            "unseen_intents": sorted(unseen),
            "f16_against_f32": {"min_cosine": float(torch.cat(agreement).min())},
            "validation": checkpoints.history,
            "training": opt.report() | {"encoder": args.encoder_report},
        },
    )


if __name__ == "__main__":
    main()
