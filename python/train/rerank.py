"""Trains `embedded:rerank`: how well does a passage answer a query? A cross-encoder with one label.

    python3 python/train/rerank.py --data DATA --encoder encoder.pt --out OUT

Pairs are titles of documentation and their first paragraphs, questions about words and WordNet's definitions,
questions of everyday life and their answers, wordings of one meaning, and CLINC150's requests of one intent. Each
query is read with its passage and with others: near ones (of the same document, the same meaning's neighbours, or
with a rare word of the query) and random ones. The loss chooses the passage among them, and fits the score of each
pair by itself, so that the sigmoid of the logit is a relevance.

The test ranks each query's passage among others of its source, half of them near ones by TF-IDF.
"""

import collections
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ModernBertForSequenceClassification

import encoder
import figures
import texts
from command import arguments, evaluate_rows, logits_of

CANDIDATES = 8
KEYWORDS = 0.25
"""Share of queries that are replaced by some words of their passage, which teaches what shared words mean."""
NEAR = 4
"""How many of the wrong candidates are near, where there are such."""
EASY = 0.3
"""In this first share of the steps most wrong candidates are random. Of three runs that read near ones from the start, two stayed
at chance."""
LONGEST = 192
WORKERS = 3
SHARES = {"documentation": 0.34, "definitions": 0.26, "everyday": 0.18, "wordings": 0.10, "intents": 0.12}
POOL = 40
QUERIES = 400
"""Test queries per source, and candidates of each."""
WORD = re.compile(r"\w+")


def words_of(text):
    return WORD.findall(text.lower())


class Pool:
    """The passages of one source: {"query", "text", "group"}; `same` tells whether passages of one group answer alike."""

    def __init__(self, rows, same):
        self.rows, self.same = rows, same
        self.by_group, self.by_word = collections.defaultdict(list), collections.defaultdict(list)
        for i, row in enumerate(rows):
            self.by_group[row["group"]].append(i)
            for word in set(words_of(row["text"])):
                self.by_word[word].append(i)

    def weight(self, word):
        return math.log((1 + len(self.rows)) / (1 + len(self.by_word.get(word, ()))))

    def answers(self, query, other):
        """Returns whether passage `other` answers the query of row `query` too."""
        one, two = self.rows[query], self.rows[other]
        return one["text"] == two["text"] or one["query"].lower() == two["query"].lower() or (self.same and one["group"] == two["group"])

    def near(self, query, rng):
        """Draws a passage with a rare word of the query, or of its group."""
        if not self.same and rng.random() < 0.5:
            return int(rng.choice(self.by_group[self.rows[query]["group"]]))
        words = [w for w in set(words_of(self.rows[query]["query"])) if w in self.by_word]
        if not words:
            return int(rng.integers(len(self.rows)))
        weights = np.array([self.weight(w) ** 2 + 1e-6 for w in sorted(words)])
        chosen = self.by_word[sorted(words)[int(rng.choice(len(words), p=weights / weights.sum()))]]
        return chosen[int(rng.integers(len(chosen)))]

    def ranked(self, query, candidates):
        """Returns the TF-IDF score of each candidate passage."""
        asked = set(words_of(query))
        scores = []
        for text in candidates:
            words = set(words_of(text))
            scores.append(sum(self.weight(w) for w in asked & words) / math.sqrt(1 + len(words)))
        return np.array(scores)

    def test(self, query, rng):
        """Returns candidates for a query, its own passage first: half of them share its words, half are random."""
        wrong = [i for i in range(len(self.rows)) if not self.answers(query, i)]
        scores = self.ranked(self.rows[query]["query"], [self.rows[i]["text"] for i in wrong])
        near = [wrong[i] for i in np.argsort(-scores, kind="stable")[: POOL // 2]]
        rest = sorted(set(wrong) - set(near))
        others = [rest[i] for i in rng.permutation(len(rest))[: POOL - 1 - len(near)]]
        return [self.rows[i]["text"] for i in [query, *near, *others]]


def pools(data, split):
    """Returns the pool of each source."""
    rows = texts.read(data, f"passages-{split}")
    found = {s: Pool([r for r in rows if r["source"] == s], s == "everyday") for s in ("documentation", "definitions", "everyday")}
    rng = np.random.default_rng(70)

    def paired(groups):
        """Pairs each text with another one of its group."""
        made = []
        for name, members in groups.items():
            for text, part in members:
                others = [t for t, p in members if t != text and (p is None or p != part)]
                if others:
                    made.append({"query": text, "text": others[int(rng.integers(len(others)))], "group": name})
        return Pool(made, True)

    wordings, intents = collections.defaultdict(list), collections.defaultdict(list)
    for row in texts.read(data, f"sentences-{split}"):
        if row["role"] == "wording":
            wordings[row["meaning"]].append((row["text"], row["line"]))
    for row in texts.read(data, f"intent-{split}"):
        if row["label"] != "oos":
            intents[row["label"]].append((row["text"], None))
    return found | {"wordings": paired(wordings), "intents": paired(intents)}


def encode(tok, pairs):
    return [np.array(e.ids[: LONGEST - 1] + [texts.SEP] if len(e.ids) > LONGEST else e.ids, dtype=np.int64) for e in tok.encode_batch(pairs)]


class Steps(torch.utils.data.Dataset):
    """Makes the batch of each step: CANDIDATES pairs per query, the right one first. It depends on the step's number alone."""

    def __init__(self, tok, found, args):
        self.tok, self.pools, self.args = tok, found, args
        self.names = [s for s in SHARES if len(found[s].rows) > CANDIDATES]
        self.shares = np.array([SHARES[s] for s in self.names])

    def __len__(self):
        return self.args.steps

    def asked(self, pool, query, rng):
        if rng.random() >= KEYWORDS:
            return texts.vary(pool.rows[query]["query"], rng)
        words = sorted(set(words_of(pool.rows[query]["text"])), key=lambda w: -pool.weight(w))[:12]
        return " ".join(str(w) for w in rng.permutation(words)[: int(rng.integers(1, 5))])

    def __getitem__(self, step):
        rng, pairs = np.random.default_rng([71 + self.args.seed, step]), []
        near = NEAR if step > EASY * self.args.steps else int(rng.integers(2))
        for _ in range(self.args.batch // CANDIDATES):
            pool = self.pools[self.names[int(rng.choice(len(self.names), p=self.shares / self.shares.sum()))]]
            query = int(rng.integers(len(pool.rows)))
            asked, chosen = self.asked(pool, query, rng), [query]
            for tries in range(20 * CANDIDATES):
                if len(chosen) == CANDIDATES:
                    break
                other = pool.near(query, rng) if len(chosen) <= near and tries < 4 * NEAR else int(rng.integers(len(pool.rows)))
                if other not in chosen and not pool.answers(query, other):
                    chosen.append(other)
            chosen += [chosen[-1]] * (CANDIDATES - len(chosen))
            pairs += [(asked, texts.vary(pool.rows[i]["text"], rng)) for i in chosen]
        return texts.padded(encode(self.tok, pairs), "cpu")


def loss_of(logits):
    """Returns the loss of rows of candidates, the right one first."""
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    truth = F.one_hot(first, logits.shape[1]).float()
    weight = torch.where(truth > 0, float(logits.shape[1] - 1), 1.0)
    return F.cross_entropy(logits, first) + 0.5 * F.binary_cross_entropy_with_logits(logits, truth, weight=weight)


def relevance(out, valid):
    return out.logits.sigmoid()


def evaluate(model, tok, found, device, count):
    """Returns for each source how well passages are ranked, by the model and by shared words, and all scores."""
    result, kept = {}, []
    for name, pool in found.items():
        rng = np.random.default_rng(72)
        queries = rng.permutation(len(pool.rows))[:count]
        tests = [(pool.rows[q]["query"], pool.test(int(q), rng)) for q in queries]
        scores = evaluate_rows(model, encode(tok, [(q, t) for q, many in tests for t in many]), device, f=relevance)[:, 0]
        kept.append(scores)
        rows = np.split(scores, np.cumsum([len(many) for _, many in tests])[:-1])
        ranks = np.array([1 + (r[1:] >= r[0]).sum() for r in rows])
        plain = [pool.ranked(q, many) for q, many in tests]
        by_words = np.array([1 + (r[1:] > r[0]).sum() + (r[1:] == r[0]).sum() / 2 for r in plain])
        result[name] = {"this model": measures(ranks), "tf_idf": measures(by_words), "candidates": len(tests[0][1])}
        result[name]["relevance_of_the_right"] = float(np.mean([r[0] for r in rows]))
        result[name]["relevance_of_others"] = float(np.mean([r[1:].mean() for r in rows]))
    return result, kept


def measures(ranks):
    """Returns figures for one relevant passage per query."""
    return {
        "first_is_right": figures.wilson(int((ranks < 1.5).sum()), len(ranks)),
        "mean_reciprocal_rank": float((1 / ranks).mean()),
        "ndcg_at_10": float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0).mean()),
    }


def main():
    args = arguments(steps=4000, limit_s=320, peak=1.5e-3, batch=384)
    device = args.device
    tok = texts.tokenizer(args.tokenizer)
    steps = texts.loader(Steps(tok, pools(args.data, "train"), args), device, WORKERS)
    held = {split: pools(args.data, split) for split in ("validation", "test")}
    queries = QUERIES if args.rows is None else 4
    model = encoder.build(ModernBertForSequenceClassification, device, args.pretrained, seed=71, num_labels=1)
    opt = encoder.Optimiser(model, args.steps, args.peak, args.limit_s)

    def score():
        found, _ = evaluate(model, tok, held["validation"], device, queries // 4)
        return np.mean([f["this model"]["mean_reciprocal_rank"] for f in found.values()])

    checkpoints = encoder.Checkpoints(opt, args.steps, score, args.looks)
    put = lambda tensor: tensor.to(device, non_blocking=True)
    for ids, valid in steps:
        with encoder.autocast(device):
            logits = logits_of(model, put(ids), put(valid)).float().view(-1, CANDIDATES)
        opt.step(loss_of(logits))
        checkpoints.consider()
        if opt.done():
            break
    checkpoints.restore()
    encoder.export(model, args.tokenizer, args.out, ["relevance"])
    narrow = encoder.reopen(ModernBertForSequenceClassification, args.out, device)
    found, scores = evaluate(narrow, tok, held["test"], device, queries)
    _, wide = evaluate(encoder.plain(model), tok, held["test"], device, queries)
    difference = np.abs(np.concatenate(wide) - np.concatenate(scores))
    figures.save(
        args.out,
        {
            "model": "rerank",
            "held_out": found,
            "f16_against_f32": {"pairs": len(difference), "max_probability_difference": float(difference.max())},
            "validation": checkpoints.history,
            "training": opt.report() | args.begun,
        },
    )


if __name__ == "__main__":
    main()
