"""Training texts: reading, tokens, batches, and windows of real prose with something planted in them."""

import collections
import json
import lzma
import os
import pathlib
import re

import numpy as np
import torch
from tokenizers import Tokenizer

PAD, CLS, SEP, MASK = 0, 2, 3, 4
QUESTION_WORDS = {"what", "what's", "how", "can", "is", "are", "do", "does", "when", "where", "who", "why", "which", "will", "could", "would", "should"}
LENGTHS = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768]
LENGTH_ODDS = np.array([12, 13, 15, 16, 16, 14, 7, 7]) / 100


SIGNS = "👍 😀 😂 ❤️ 🙏 🎉 😊 😭 🔥 ✨ 😅 🤔 👋 💪 🙂 😍 ✅ ❌ ⭐ 🚀 ☕ 🍕 🐱 🐶 🌍 🎂 📦 💡 📅 🏠 :) ;) :-D <3 :( ♥ ★ → © ™ ½ ñ é".split()
ENDS = [".", "!", "?", "...", "!!", "?!", "…", " .", ",", ";", "??", "!!!", " -", ":"]
ROWS = None


def read(data, name):
    """Reads the rows of a file; a trial reads ROWS of them, spread over the file."""
    with lzma.open(pathlib.Path(data) / f"{name}.jsonl.xz", "rt", encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return rows if ROWS is None else rows[:: max(1, len(rows) // ROWS)]


def tokenizer(directory):
    return Tokenizer.from_file(str(pathlib.Path(directory) / "tokenizer.json"))


def short(rows, longest):
    """Returns the rows that are hardly longer than `longest` tokens: four characters are about a token of English."""
    return [r for r in rows if len(r["text"]) <= 4 * longest]


def ids_of(tok, texts, special=True):
    return [np.array(e.ids, dtype=np.int64) for e in tok.encode_batch(texts, add_special_tokens=special)]


def padded(rows, device, fill=PAD, multiple=8):
    """Pads rows of different lengths to one tensor; also returns which positions are real."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    out = np.full((len(rows), width), fill, dtype=np.int64)
    valid = np.zeros((len(rows), width), dtype=bool)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
        valid[i, : len(row)] = True
    return torch.from_numpy(out).to(device, non_blocking=True), torch.from_numpy(valid).to(device, non_blocking=True)


def batches(lengths, size, rng, pool=16):
    """Yields indices in batches of similar length, without end."""
    lengths = np.asarray(lengths)
    while True:
        order = rng.permutation(len(lengths))
        groups = []
        for i in range(0, len(order), size * pool):
            part = order[i : i + size * pool]
            part = part[np.argsort(lengths[part], kind="stable")]
            groups += [part[j : j + size] for j in range(0, len(part), size)]
        for i in rng.permutation(len(groups)):
            yield groups[i]


def by_kind(rows, share, weights):
    """Returns pools of the rows of each kind, for `mixed_batches`, which have `share` together. A kind of few texts is
    drawn as often as its weight says."""
    kinds = np.array([r.get("kind", "") for r in rows])
    there = {k: np.flatnonzero(kinds == k) for k in weights}
    total = sum(weights[k] for k in weights if len(there[k]))
    return [(share * weights[k] / total, there[k]) for k in weights if len(there[k])]


def mixed_batches(lengths, pools, size, rng, pool=16):
    """Yields indices in batches of similar length, without end. `pools` are (share, indices), drawn at random."""
    shares = np.array([share for share, _ in pools])
    while True:
        picked = rng.choice(len(pools), size * pool, p=shares / shares.sum())
        part = np.concatenate([rng.choice(indices, int((picked == k).sum())) for k, (_, indices) in enumerate(pools)])
        part = part[np.argsort(lengths[part], kind="stable")]
        for i in rng.permutation(pool):
            yield part[i * size : (i + 1) * size]


def loader(steps, device, workers):
    """Returns the batches of a data set of steps, which other processes make."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    workers = max(1, min(workers, (os.cpu_count() or 2) - 1))
    more = {"multiprocessing_context": "fork", "prefetch_factor": 8}
    return torch.utils.data.DataLoader(steps, batch_size=None, num_workers=workers, pin_memory=device == "cuda", **more)


class Prose:
    """Tokens of documents laid end to end, and windows of them."""

    def __init__(self, tok, rows, skip_names_of=("moby-dick",)):
        encoded = tok.encode_batch([r["text"] for r in rows], add_special_tokens=False)
        parts, names = [], []
        for row, e in zip(rows, encoded):
            ids = np.array(e.ids + [SEP], dtype=np.int64)
            parts.append(ids)
            hide = row["source"] in skip_names_of
            names.append(self.capitalised(e.tokens) if hide else np.zeros(len(ids), bool))
        self.ids = np.concatenate(parts)
        self.maybe_name = np.concatenate(names)
        ends = {i for t, i in tok.get_vocab().items() if t in {".", "!", "?"} or t.endswith("Ċ")}
        self.ends = np.isin(self.ids, list(ends))

    @staticmethod
    def capitalised(tokens):
        """Marks the tokens of capitalised words, which in a novel may be names that no source labels."""
        found, inside = np.zeros(len(tokens) + 1, bool), False
        for i, t in enumerate(tokens):
            if t.startswith("Ġ") or not t[0].isalpha():
                inside = t.lstrip("Ġ")[:1].isupper()
            elif t[0].isupper():
                inside = True
            found[i] = inside
        return found

    def window(self, n, rng):
        start = int(rng.integers(0, len(self.ids) - n))
        return slice(start, start + n)

    def planted(self, length, pieces, rng):
        """Builds [CLS] ... [SEP] of exactly `length` tokens with each piece (an array of ids) at the end of a
        sentence. Returns the ids, and for each token its piece's number and position in it, or -1."""
        window = self.window(length - 2 - sum(map(len, pieces)), rng)
        body, ends = self.ids[window], self.ends[window]
        places = np.flatnonzero(ends) + 1
        if len(places) == 0:
            places = np.array([0, len(body)])
        at = np.sort(rng.choice(places, len(pieces)))
        ids, owner, offset = [[CLS]], [[-1]], [[-1]]
        last = 0
        for number, (place, piece) in enumerate(zip(at, pieces)):
            for part, own in ((body[last:place], -1), (piece, number)):
                ids.append(part)
                owner.append(np.full(len(part), own))
                offset.append(np.arange(len(part)) if own >= 0 else np.arange(last, place))
            last = place
        ids += [body[last:], [SEP]]
        owner += [np.full(len(body) - last, -1), [-1]]
        offset += [np.arange(last, len(body)), [-1]]
        return np.concatenate(ids), np.concatenate(owner), np.concatenate(offset), window


def long_length(rng, room=32768):
    """Draws a length, and returns it with the number of windows that fill `room` tokens."""
    length = min(int(rng.choice(LENGTHS, p=LENGTH_ODDS)), room)
    return length, room // length


def as_planted(text, rng):
    """Returns a piece with the white space that separates it from the prose."""
    before, after = [(" ", ""), ("\n", "\n"), ("\n\n", "\n\n"), ("\n\n", "")][int(rng.integers(4))]
    return before + text + after


class Capitals:
    """Capitalises lower-case text as people do, by counts of capitalised words in running text."""

    LEAST_SEEN, LEAST_SHARE = 3, 0.8

    def __init__(self, running_texts):
        forms = collections.defaultdict(collections.Counter)
        for text in running_texts:
            for word in re.findall(r"(?<=[a-z,] )[A-Za-z][A-Za-z']*\b", text):
                forms[word.lower()][word] += 1
        self.form_of = {}
        for word, counts in forms.items():
            form, seen = counts.most_common(1)[0]
            if form != word and seen >= max(self.LEAST_SEEN, self.LEAST_SHARE * counts.total()):
                self.form_of[word] = form

    def typed(self, text, rng):
        """Writes a third of the texts in lower case without a mark at the end, as CLINC150 is, and the rest with
        capitals and mostly a mark. Now and then a word on no list gets a capital, as a name would."""
        if rng.random() < 0.35:
            return text.lower().rstrip(".?! ") or text
        text = re.sub(r"\b[a-z][a-z']*", lambda m: self.form_of.get(m[0], m[0]), text)
        if rng.random() < 0.1:
            start = int(rng.choice([m.start() for m in re.finditer(r"\b[a-z]", text)] or [0]))
            text = text[:start] + text[start].upper() + text[start + 1 :]
        if rng.random() < 0.85:
            text = text[0].upper() + text[1:]
        if text[-1].isalnum() and rng.random() < 0.6:
            text += "?" if text.lower().split()[0] in QUESTION_WORDS else "."
        return text


def decorated(text, rng):
    """Writes a text as people type it: other capitals, another mark at the end, a sign of joy."""
    pick = rng.random()
    if pick < 0.30:
        text = [str.lower, str.lower, str.upper, str.upper, str.title, str.capitalize][int(rng.integers(6))](text)
    pick = rng.random()
    if pick < 0.12:
        text = text.rstrip(".?! ") + ENDS[int(rng.integers(len(ENDS)))]
    elif pick < 0.24:
        sign = SIGNS[int(rng.integers(len(SIGNS)))] * int(rng.choice([1, 1, 1, 2, 3]))
        text = f"{text} {sign}" if rng.random() < 0.8 else f"{sign} {text}"
    return text


def vary(text, rng):
    """Removes capitals or the mark at the end, or writes all in capitals, now and then."""
    pick = rng.random()
    if pick < 0.12:
        text = text.lower()
    elif pick < 0.15:
        text = text.upper()
    if rng.random() < 0.15:
        text = text.rstrip(".?! ") or text
    return text
