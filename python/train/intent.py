"""Trains `embedded:intent`: CLINC150's 150 intents and out-of-scope, each label `domain/intent`.

    python3 python/train/intent.py --data DATA --encoder encoder.pt --out OUT

CLINC150 has 100 out-of-scope requests for training. Benign texts of s-labs and sentences of prose are added to
them: without these, a small model finds an intent in anything. CLINC150 is lower case without punctuation and
the additions are not, so all texts are written both ways; else capitals alone would mark what is out of scope.

Each request is read twice with different dropout, and the two answers are pulled together (R-Drop, Liang et al.
2021). Half of the texts lack some of their words: a model that may rely on all words memorises its training
requests and is certain of everything. One temperature, fitted on validation data (Guo et al. 2017), sets how
certain it is; it becomes part of the last layer's weights.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForSequenceClassification

import encoder
import figures
import texts
from command import arguments, evaluate_rows, logits_of

OUT_OF_SCOPE = "out_of_scope"
FOREIGN = 1500
FOREIGN_PROSE = 400
PULL = 2.0
"""How much the two answers' divergence counts beside the labels."""
HIDDEN = 0.3
"""Which share of words; 0.15 to 0.3, with and without smoothed labels, were tried, and this had the least log loss on
validation data."""


def labels():
    domains = json.loads((pathlib.Path(__file__).parent / "clinc_domains.json").read_text(encoding="utf-8"))
    return [OUT_OF_SCOPE] + [f"{domain}/{intent}" for domain in sorted(domains) for intent in sorted(domains[domain])]


def domain_columns(names):
    """Returns domain names, and a 0/1 matrix from labels to them."""
    of = [n.split("/")[0] for n in names]
    domains = sorted(set(of))
    return domains, np.array([[float(d == o) for d in domains] for o in of])


def numbered(rows, names):
    by_intent = {n.split("/")[-1]: i for i, n in enumerate(names)} | {"oos": 0}
    return [r["text"] for r in rows], np.array([by_intent[r["label"]] for r in rows])


def training_rows(requests, prose, jailbreak, names, rng):
    rows, targets = numbered(requests, names)
    foreign = [r["text"] for r in jailbreak if r["label"] == 0 and r["source"] == "s-labs"]
    blocks = [s for r in prose if r["source"] != "linux-doc" for s in r["text"].split(". ") if 20 < len(s) < 120]
    extra = [foreign[i] for i in rng.permutation(len(foreign))[:FOREIGN]] + [blocks[i] for i in rng.permutation(len(blocks))[:FOREIGN_PROSE]]
    return rows + extra, np.append(targets, np.zeros(len(extra), int))


def greeted(text, rng):
    if rng.random() > 0.1:
        return text
    return ["please ", "hi, ", "hey, ", "ok, ", "could you tell me, "][int(rng.integers(5))] + text


def with_words_hidden(ids):
    lacking = torch.rand(len(ids), 1, device=ids.device) < 0.5
    hidden = lacking & (torch.rand(ids.shape, device=ids.device) < HIDDEN) & (ids > texts.MASK)
    return ids.masked_fill(hidden, texts.MASK)


def temperature(model, rows, targets, device):
    """Returns the divisor of logits that gives the lowest log loss."""
    logits = torch.from_numpy(evaluate_rows(model, rows, device, f=lambda out, valid: out.logits))
    truth = torch.from_numpy(targets)
    return min(np.geomspace(0.25, 4, 400), key=lambda t: float(F.cross_entropy(logits / t, truth)))


@torch.no_grad()
def cool(model, t):
    model.classifier.weight /= t
    model.classifier.bias /= t


def evaluate(probabilities, targets, names):
    domains, matrix = domain_columns(names)
    found, truth = probabilities.argmax(1), targets
    inside = truth != 0
    domain_truth = matrix[truth].argmax(1)
    by_sum = (probabilities @ matrix).argmax(1)
    by_label = matrix[found].argmax(1)
    share = lambda hits: figures.wilson(int(hits.sum()), len(hits))
    return {
        "intent_accuracy_in_scope": share((found == truth)[inside]),
        "intent_accuracy_all": share(found == truth),
        "domain_accuracy_in_scope": share((by_sum == domain_truth)[inside]),
        "domain_accuracy_all": share(by_sum == domain_truth),
        "domain_accuracy_of_top_intent_all": share(by_label == domain_truth),
        "calibration": figures.calibration(probabilities.max(1), found == truth),
        "out_of_scope_recall": share((found == 0)[~inside]),
        "out_of_scope_precision": share((truth == 0)[found == 0]),
        "confusion": figures.confusion(domain_truth, by_sum, domains),
    }


def main():
    args = arguments(steps=4000, limit_s=320, peak=1.5e-3, batch=256)
    device, rng = args.device, np.random.default_rng(31 + args.seed)
    tok, names = texts.tokenizer(args.tokenizer), labels()
    requests, prose, jailbreak = (texts.read(args.data, f"{name}-train") for name in ("intent", "prose", "jailbreak"))
    rows, targets = training_rows(requests, prose, jailbreak, names, rng)
    capitals = texts.Capitals(r["text"] for r in prose + jailbreak)
    held = {s: numbered(texts.read(args.data, f"intent-{s}"), names) for s in ("validation", "test")}
    held = {s: (texts.ids_of(tok, t), y) for s, (t, y) in held.items()}
    model = encoder.build(ModernBertForSequenceClassification, device, args.pretrained, seed=31, num_labels=len(names))
    opt = encoder.Optimiser(model, args.steps, args.peak, args.limit_s)
    order = texts.batches([len(t) for t in rows], args.batch, rng)
    score = lambda: (evaluate_rows(model, held["validation"][0], device).argmax(1) == held["validation"][1]).mean()
    checkpoints = encoder.Checkpoints(opt, args.steps, score, args.looks)
    targets = torch.from_numpy(targets)
    while not opt.done():
        index = next(order)
        ids, valid = texts.padded(texts.ids_of(tok, [capitals.typed(greeted(rows[i], rng), rng) for i in index]), device)
        with encoder.autocast(device):
            one, two = (logits_of(model, with_words_hidden(ids), valid).float().log_softmax(-1) for _ in range(2))
            truth = targets[index].to(device)
            apart = ((one.exp() - two.exp()) * (one - two)).sum(-1).mean()
            loss = (F.nll_loss(one, truth) + F.nll_loss(two, truth) + PULL * apart) / 2
        opt.step(loss)
        checkpoints.consider()
    checkpoints.restore()
    divisor = temperature(model, *held["validation"], device)
    cool(model, divisor)
    encoder.export(model, args.tokenizer, args.out, names)
    narrow = encoder.reopen(ModernBertForSequenceClassification, args.out, device)
    found = {s: evaluate_rows(narrow, ids, device) for s, (ids, _) in held.items()}
    wide = [evaluate_rows(encoder.plain(model), ids, device) for ids, _ in held.values()]
    figures.save(
        args.out,
        {
            "model": "intent",
            "held_out": {s: evaluate(found[s], held[s][1], names) for s in held},
            "f16_against_f32": figures.precision_check(wide, list(found.values())),
            "validation": checkpoints.history,
            "temperature": divisor,
            "training": opt.report() | args.begun,
        },
    )


if __name__ == "__main__":
    main()
