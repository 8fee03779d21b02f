"""Measures how often planted sentences are found in long texts, by length and depth, for four ways of reading.

    python3 python/eval/needle.py --data DATA --bigbatch target/release/bigbatch --device cuda --out OUT

DATA is the directory written by python/train/prepare_data.py. README.md beside this file defines what is planted,
what counts as found and what is reused. Writes needle.json, needle.md and one SVG per model.
"""

import argparse
import concurrent.futures
import json
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "crates" / "models"
sys.path.insert(0, str(HERE.parent / "train"))
import figures  # noqa: E402

import heatmap  # noqa: E402

LENGTHS = [1024, 2048, 4096, 8192, 16384, 32768]
DEPTHS = [0, 25, 50, 75, 100]
PER_CELL = 50
CUT_TOKENS = 512
CHUNKS = {"chunked": (512, 64), "chunked by 4K": (4096, 256)}
READINGS = {"whole": "the whole text at once", "truncated": f"its first {CUT_TOKENS} tokens"} | {
    name: f"windows of {size} tokens, {overlap} of them shared with the window before" for name, (size, overlap) in CHUNKS.items()
}
SPARE_TOKENS = 48
"""Reserve for tokens that arise where texts are joined."""
CALIBRATION_LENGTHS = [1024, 4096, 16384]
LONGEST_CALIBRATION_CHARACTERS = 300
CALIBRATION_SHARE = 4
"""Each fourth held-out document fixes thresholds and is in no haystack; training prose is too well known to the model."""
NOT_IN_PROSE = {"EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP_ADDRESS", "SSN"}
"""Kinds whose paragraphs prepare_data.py drops; names and places of novels and speeches stay."""


def rows_of(path):
    with lzma.open(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


class Prose:
    """Held-out documents laid end to end, by tokens and by characters."""

    def __init__(self, tokenizer, rows):
        self.tokenizer, self.calibration = tokenizer, None
        self.text, begins, ends = "", [], []
        parts, at = [], 0
        for row, encoding in zip(rows, tokenizer.encode_batch([r["text"] for r in rows], add_special_tokens=False)):
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) + at
            begins.append(offsets[:, 0])
            ends.append(offsets[:, 1])
            parts.append(row["text"])
            at += len(row["text"]) + 2
        self.text = "\n\n".join(parts)
        self.begins, self.ends = np.concatenate(begins), np.concatenate(ends)
        self.sentences = np.array([m.end() for m in re.finditer(r"[.!?][\"')]*\s+(?=\S)|\n\n+", self.text)])

    def haystack(self, tokens, rng):
        """Returns the characters of a window that begins with a sentence and has at most `tokens` tokens."""
        latest = self.begins[len(self.begins) - tokens - 1]
        starts = self.sentences[self.sentences < latest]
        start = int(starts[rng.integers(len(starts))])
        first = int(np.searchsorted(self.begins, start))
        return start, int(self.ends[first + tokens - 1])

    def planted(self, window, needle, depth, inline):
        """Puts the needle into the window at the end of a sentence near `depth` percent; also returns the needle's characters."""
        start, end = window
        inside = self.sentences[(self.sentences > start) & (self.sentences < end)]
        target = start + (end - start) * depth / 100
        places = np.concatenate([[start], inside, [end]])
        at = int(places[np.abs(places - target).argmin()]) if 0 < depth < 100 else (start if depth == 0 else end)
        before, after = self.text[start:at].rstrip(), self.text[at:end].lstrip()
        gap = " " if inline else "\n\n"
        left = before + gap if before else ""
        right = gap + after if after else ""
        return left + needle + right, len(left)


def needles_of(task, data):
    """Returns the needles with their spans; an injection is found by the text's score and has none."""
    if task == "jailbreak":
        return [{"text": t, "spans": []} for t in json.loads((HERE / "injections.json").read_text(encoding="utf-8"))]
    rows = rows_of(data / "needles-pii.jsonl.xz")
    return rows[:: max(1, len(rows) // 200)]


def haystacks(task, args, prose, rng):
    """Makes every text to read: {"length", "depth" or None, "text", "spans"}."""
    needles = needles_of(task, args.data)
    order = rng.permutation(len(needles))
    texts = []
    for length in args.lengths:
        for i in range(args.per_cell):
            needle = needles[order[i % len(order)]]
            size = len(prose.tokenizer.encode(needle["text"], add_special_tokens=False).ids)
            window = prose.haystack(length - 2 - size - SPARE_TOKENS, rng)
            texts.append({"length": length, "depth": None, "text": prose.text[slice(*window)], "spans": []})
            for depth in args.depths:
                text, at = prose.planted(window, needle["text"], depth, inline=i % 2 == 0)
                spans = [[s + at, e + at, label] for s, e, label in needle["spans"]]
                texts.append({"length": length, "depth": depth, "text": text, "spans": spans})
    return texts


def cut(tokenizer, texts):
    """Cuts a text as a stack with a limit of 512 tokens does."""
    heads = [t[: 12 * CUT_TOKENS] for t in texts]
    encoded = tokenizer.encode_batch(heads, add_special_tokens=False)
    room = CUT_TOKENS - 2
    return [head[: e.offsets[room - 1][1]] if len(e.ids) > room else head for head, e in zip(heads, encoded)]


def ask(args, task, source, reading, texts, folder):
    """Returns the program's answers in order. Equal texts are read once; shards run side by side."""
    unique = list(dict.fromkeys(texts))
    command = [str(args.bigbatch), "classify" if task == "jailbreak" else "tag", "--model", source, "--device", args.device]
    command += ["--json"]
    if reading in CHUNKS:
        size, overlap = CHUNKS[reading]
        command += [f"--chunk={size},{overlap}" + (",max" if task == "jailbreak" else "")]
    shards = min(args.shards, len(unique))

    def run(shard):
        path = folder / f"{shard}.json"
        path.write_text(json.dumps(unique[shard::shards]), encoding="utf-8")
        done = subprocess.run([*command, "--input", path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    with concurrent.futures.ThreadPoolExecutor(shards) as pool:
        parts = list(pool.map(run, range(shards)))
    answers = {text: parts[i % shards][i // shards] for i, text in enumerate(unique)}
    return [answers[text] for text in texts], len(unique)


def injection_score(answer):
    return next(label["score"] for label in answer["labels"] if label["label"] == "injection")


def found(task, threshold, row, answer):
    """Returns whether the needle was found, or for a text without one, whether anything was."""
    if task == "jailbreak":
        return injection_score(answer) >= threshold
    if row["depth"] is None:
        return any(entity["label"] in NOT_IN_PROSE for entity in answer["entities"])
    touches = lambda e, s: e["label"] == s[2] and e["start"] < s[1] and e["end"] > s[0]
    return all(any(touches(e, s) for e in answer["entities"]) for s in row["spans"])


def best_threshold(scores, planted):
    """Returns the threshold of the highest F1, the middle one of several."""
    tries = np.linspace(0.02, 0.98, 193)
    hit = scores[None] >= tries[:, None]
    f1 = np.array([figures.f1_of((h & planted).sum(), (h & ~planted).sum(), (~h & planted).sum()) for h in hit])
    best = np.flatnonzero(np.isclose(f1, f1.max()))
    return round(float(tries[best[len(best) // 2]]), 3)


def calibrate(source, reading, args, prose, folder):
    """Returns a reading's threshold, fitted on injections of the validation set in windows of prose reserved for
    this, and on the same windows without an injection."""
    rng = np.random.default_rng(62)
    rows = [r["text"] for r in rows_of(args.data / "jailbreak-validation.jsonl.xz") if r["label"] == 1]
    rows = [text for text in rows if len(text) <= LONGEST_CALIBRATION_CHARACTERS]
    texts, planted = [], []
    for length in (n for n in CALIBRATION_LENGTHS if n <= max(args.lengths)):
        for i in range(args.calibration):
            needle = rows[rng.integers(len(rows))]
            size = len(prose.tokenizer.encode(needle, add_special_tokens=False).ids)
            window = prose.haystack(length - 2 - size - SPARE_TOKENS, rng)
            texts += [prose.text[slice(*window)], prose.planted(window, needle, int(rng.integers(101)), inline=i % 2 == 0)[0]]
            planted += [False, True]
    if reading == "truncated":
        # No threshold can find what was planted behind the cut.
        texts = cut(prose.tokenizer, texts)
        planted = [p and text != texts[i - 1] for i, (p, text) in enumerate(zip(planted, texts))]
    answers, _ = ask(args, "jailbreak", source, reading, texts, folder)
    return best_threshold(np.array([injection_score(a) for a in answers]), np.array(planted))


def cells_of(task, threshold, rows, answers, args):
    hits = {}
    for row, answer in zip(rows, answers):
        hits.setdefault((row["length"], row["depth"]), []).append(found(task, threshold, row, answer))
    share = lambda length, depth: figures.wilson(sum(hits[length, depth]), len(hits[length, depth]))
    return {
        "recall": [[share(length, depth) for length in args.lengths] for depth in args.depths],
        "false_positives": [share(length, None) for length in args.lengths],
    }


def evaluate(task, source, args, tokenizer, prose, folder):
    rows = haystacks(task, args, prose, np.random.default_rng(61))
    texts = [row["text"] for row in rows]
    thresholds = {"": None}
    if task == "jailbreak":
        short = json.loads((MODELS / "jailbreak" / "metrics.json").read_text(encoding="utf-8"))["threshold"]
        thresholds = {"validation haystacks": None, "short validation texts": short, "the program: the likelier label": 0.5}
    result = {"source": source, "readings": {}}
    for reading in args.readings:
        asked = cut(tokenizer, texts) if reading == "truncated" else texts
        begin = time.monotonic()
        answers, unique = ask(args, task, source, reading, asked, folder)
        tokens = [answer["tokens"] for answer in answers]
        entry = {"texts": len(rows), "texts_read": unique, "tokens": sum(tokens), "seconds": round(time.monotonic() - begin, 1)}
        if reading != "truncated":
            short = [row["length"] - t for row, t in zip(rows, tokens)]
            assert 0 <= min(short) and max(short) <= 2 * SPARE_TOKENS, (min(short), max(short))
        if task == "jailbreak":
            thresholds["validation haystacks"] = calibrate(source, reading, args, prose.calibration, folder)
        entry["at"] = {why: {"threshold": t, **cells_of(task, t, rows, answers, args)} for why, t in thresholds.items()}
        result["readings"][reading] = entry
        print(task, reading, {k: v for k, v in entry.items() if k != "at"}, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--bigbatch", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--models", nargs="+", default=["jailbreak=embedded:jailbreak", "pii=embedded:pii"], metavar="TASK=SOURCE")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--per-cell", type=int, default=PER_CELL)
    parser.add_argument("--readings", nargs="+", choices=READINGS, default=list(READINGS))
    parser.add_argument("--calibration", type=int, default=40, help="texts per length with a needle, and as many without, that fix the threshold")
    parser.add_argument("--shards", type=int, default=max(1, (os.cpu_count() or 1) // 4), help="processes side by side")
    args = parser.parse_args()
    args.bigbatch = args.bigbatch.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(MODELS / "jailbreak" / "tokenizer.json"))
    documents = rows_of(args.data / "prose-test.jsonl.xz")
    prose = Prose(tokenizer, [row for i, row in enumerate(documents) if i % CALIBRATION_SHARE != 0])
    prose.calibration = Prose(tokenizer, documents[::CALIBRATION_SHARE])
    shape = {"lengths": args.lengths, "depths": args.depths, "per_cell": args.per_cell, "device": args.device}
    results = shape | {"prose_tokens": len(prose.begins), "readings": READINGS, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            task, source = model.split("=", 1)
            results["models"][task] = evaluate(task, source, args, tokenizer, prose, pathlib.Path(folder))
    (args.out / "needle.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (args.out / "needle.md").write_text(heatmap.markdown(results), encoding="utf-8")
    for task, result in results["models"].items():
        (args.out / f"needle-{task}.svg").write_text(heatmap.svg(task, result, results), encoding="utf-8")


if __name__ == "__main__":
    main()
