"""Real short texts from public packages: code, interface strings in ninety languages, help, manuals, definitions, sayings.

Reads what `fetch_sources.sh` downloads. Every function returns a list in a fixed order; `prepare_data.py` draws
from them. `data.json` counts what is taken, and the models' cards name the licences.
"""

import gzip
import hashlib
import html
import json
import random
import re

SECRETIVE = re.compile(r"[\w.+-]+@[\w-]+\.\w|\b\d{1,3}(\.\d{1,3}){3}\b|(\d[ -]?){9,}|Copyright|©|[Aa]uthor|\(c\)|ignore (all|any|the) (previous|above)", re.I)
"""Lines with addresses, long numbers or names of authors, which `pii` must not learn to overlook."""
LEX_PERSON, LEX_LOCATION = "18", "15"
CODE_LINES = [1, 1, 1, 2, 3, 5, 8, 14]


def clean(texts, shortest=2, longest=400):
    """Drops repeated texts, texts of other lengths, and texts with addresses or authors."""
    return [t for t in dict.fromkeys(" ".join(t.split(" ")).strip() for t in texts) if shortest <= len(t) <= longest and not SECRETIVE.search(t)]


def drawn(texts, count, seed):
    texts = list(texts)
    return texts if len(texts) <= count else random.Random(seed).sample(texts, count)


def words(root):
    """Words of a spelling list that are no names: public domain (SCOWL)."""
    return [w for w in (root / "wamerican/usr/share/dict/american-english").read_text(encoding="utf-8").split() if "'" not in w and w.islower()]


def wordnet(root):
    """Returns [(words, kind of word, definition, examples, lexicographer file)] of WordNet 3.0 (its own free licence)."""
    rows = []
    for name in ("noun", "verb", "adj", "adv"):
        for line in (root / f"wordnet-base/usr/share/wordnet/data.{name}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" ") or " | " not in line:
                continue
            head, gloss = line.split(" | ", 1)
            fields = head.split()
            count = int(fields[3], 16)
            names = [re.sub(r"\(\w+\)$", "", fields[4 + 2 * i]).replace("_", " ") for i in range(count)]
            parts = re.split(r';\s*(?=")', gloss.strip())
            examples = [e for part in parts[1:] for e in re.findall(r'"([^"]+)"', part)]
            rows.append((names, name, parts[0].strip(" ;"), examples, fields[1]))
    return rows


def glosses(rows):
    """Returns sentences and definitions of WordNet that name no person."""
    texts = []
    for names, _, definition, examples, lex in rows:
        if lex == LEX_PERSON:
            continue
        texts.append(definition)
        texts += examples
        if names[0][0].islower():
            texts.append(f"{names[0]}: {definition}")
    return [t for t in clean(texts, 8, 240) if not re.search(r"[A-Z]\w+ [A-Z]", t[1:])]


def places(root, rows):
    """Countries, regions and cities: iso-codes (LGPL-2.1) and WordNet's locations."""
    base = root / "iso-codes/usr/share/iso-codes/json"
    countries = json.loads((base / "iso_3166-1.json").read_text(encoding="utf-8"))["3166-1"]
    regions = json.loads((base / "iso_3166-2.json").read_text(encoding="utf-8"))["3166-2"]
    languages = json.loads((base / "iso_639-2.json").read_text(encoding="utf-8"))["639-2"]
    names = [c.get("common_name", c["name"]) for c in countries] * 4 + [n for names, _, _, _, lex in rows if lex == LEX_LOCATION for n in names if n[0].isupper()]
    return names + drawn([r["name"] for r in regions], 2000, 1) + [lang["name"].split(";")[0] for lang in languages]


def emoji(root):
    return [sign for sign, data in json.loads((root / "emoji/emoji/unicode_codes/emoji.json").read_text(encoding="utf-8")).items() if data["status"] <= 2]


def interface(root):
    """Messages and their translations of Django (BSD-3-Clause), and the names of emoji (BSD-3-Clause)."""
    texts = []
    for path in sorted((root / "django/django").rglob("locale/*/LC_MESSAGES/django.po")):
        found = re.findall(r'^msg(?:id|str)(?:\[\d\])? ((?:".*"\n)+)', path.read_text(encoding="utf-8"), re.M)
        for text in found[2:]:
            text = "".join(part[1:-1] for part in text.splitlines()).replace('\\"', '"').replace("\\n", "\n")
            texts.append(re.sub(r"%\((\w+)\)[sd]", r"\1", text).replace("%s", "3"))
    for path in sorted((root / "emoji/emoji/unicode_codes").glob("emoji_*.json")):
        texts += [v.strip(":").replace("_", " ") for v in json.loads(path.read_text(encoding="utf-8")).values() if isinstance(v, str)]
    return drawn(clean(texts, 2, 300), 40_000, 2)


def snippets(path, rng, most):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = []
    for _ in range(min(most, 1 + len(lines) // 6)):
        count, at = rng.choice(CODE_LINES), rng.randrange(max(1, len(lines)))
        found.append("\n".join(line.rstrip() for line in lines[at : at + count]).strip("\n"))
    return found


def code(root):
    """Pieces of Pygments' examples in some 500 languages (BSD-2-Clause) and of Django's source."""
    rng, texts = random.Random(3), []
    for path in sorted((root / "pygments/tests/examplefiles").rglob("*")):
        if path.is_file() and path.suffix != ".output":
            texts += snippets(path, rng, 24)
    for path in sorted((root / "pygments/tests/snippets").rglob("*.txt")):
        body = path.read_text(encoding="utf-8", errors="replace").split("---tokens---")[0].replace("---input---", "")
        texts.append(body.strip("\n")[:600])
    for suffix, most in (("*.py", 4), ("*.html", 3), ("*.js", 8), ("*.css", 8)):
        for path in sorted((root / "django/django").rglob(suffix)):
            texts += snippets(path, rng, most)
    return [t for t in clean(texts, 3, 900) if t.isprintable() or "\n" in t or "\t" in t]


def statements(root):
    """SQL of sqlglot's tests (MIT)."""
    base = root / "sqlglot/tests/fixtures"
    texts = [line for line in (base / "identity.sql").read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    for path in sorted(base.rglob("*.sql")):
        if path.name != "identity.sql":
            texts += [re.sub(r"^(--|#).*\n?", "", s, flags=re.M).strip() for s in path.read_text(encoding="utf-8").split(";")]
    return drawn(clean(texts, 3, 500), 6000, 4)


def sayings(root):
    """Quotations and jokes of fortune (free, by its Debian copyright file), without the files about people and sex."""
    texts = []
    skip = {"men-women", "people", "ethnic", "songs-poems", "ascii-art", "drugs", "zippy", "startrek"}
    for path in sorted((root / "fortunes/usr/share/games/fortunes").iterdir()):
        if not path.suffix and path.name not in skip and path.is_file():
            texts += path.read_text(encoding="utf-8", errors="replace").split("\n%\n")
    texts = clean(texts, 12, 700)
    for language in ("de", "es", "it", "pl", "ru", "cs", "zh", "br", "bg", "eo"):
        found = []
        for path in sorted((root / f"fortunes-{language}/usr/share/games").rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix in ("", ".fortunes") and "name" not in path.name and "ascii" not in path.name:
                found += re.sub(r"\x1b\[[\d;]*m", "", path.read_text(encoding="utf-8", errors="replace")).split("\n%\n")
        texts += drawn(clean(found, 8, 500), 1500, 11)
    return texts


def help_pages(root):
    """Titles and sentences of GNOME's help in 35 languages (CC BY-SA 3.0)."""
    texts = []
    for folder in sorted((root / "gnome-user-docs/usr/share/help").iterdir()):
        found = []
        for path in sorted(folder.rglob("*.page")):
            for block in re.findall(r"<(?:p|title|desc)(?: [^>]*)?>(.*?)</(?:p|title|desc)>", path.read_text(encoding="utf-8"), re.S):
                text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", block)).split())
                found += [text] if len(text) < 60 else re.split(r"(?<=[.?!]) |(?<=[。？！])", text)
        texts += drawn(clean(found, 2, 300), 700, 16)
    return texts


def roff(text):
    """Returns the paragraphs of a manual page without its markup."""
    paragraphs, now = [], []
    for line in text.splitlines():
        if line.startswith((".", "'")):
            inline = re.match(r"\.(B|I|BR|RB|IR|RI|BI|IB) (.+)", line)
            if inline:
                now.append(inline[2].replace('"', ""))
            elif now:
                paragraphs.append(" ".join(now))
                now = []
        else:
            now.append(line)
    paragraphs.append(" ".join(now))
    out = []
    for text in paragraphs:
        text = re.sub(r"\\f\(?\w{1,2}|\\f\[\w*\]|\\&|\\%|\\[|]", "", text).replace("\\-", "-").replace("\\ ", " ").replace("\\(aq", "'").replace("\\e", "\\")
        out.append(re.sub(r"\\\(\w\w|\\\[\w+\]", "", text))
    return out


def manuals(root):
    """Paragraphs of manual pages in German, French, Spanish, Polish and Russian (free licences, most GPL), and of the
    kernel's translated documentation (GPL-2.0)."""
    texts = []
    for language in ("de", "fr", "es", "pl", "ru"):
        found = []
        for path in sorted((root / f"manpages-{language}").rglob("*.gz")):
            if "/man/" in str(path):
                found += roff(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
        texts += drawn(clean(found, 20, 400), 4000, 5)
    base = root / "linux-doc/usr/share/doc/linux-doc-6.1/Documentation/translations"
    for language in ("zh_CN", "zh_TW", "ja_JP", "ko_KR", "it_IT", "sp_SP"):
        found = []
        for path in sorted((base / language).rglob("*.rst.gz")):
            if not path.is_symlink():
                found += [" ".join(b.split()) for b in gzip.decompress(path.read_bytes()).decode("utf-8", "replace").split("\n\n")]
        texts += drawn([t for t in clean(found, 10, 400) if not t.startswith(".. ")], 2500, 6)
    return texts


def sections(root):
    """Returns [(title, paragraph, document)] of Python's manual (PSF licence), Django's (BSD-3-Clause) and the kernel's."""
    found = []
    files = [(p, p.read_text(encoding="utf-8", errors="replace")) for p in sorted((root / "django/docs").rglob("*.txt")) if "releases" not in str(p)]
    for path in sorted((root / "python3.11-doc").rglob("_sources/**/*.txt*")):
        raw = path.read_bytes()
        files.append((path, (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", "replace")))
    base = root / "linux-doc/usr/share/doc/linux-doc-6.1/Documentation"
    order = lambda p: hashlib.sha256(str(p.relative_to(base)).encode()).hexdigest()
    kernel = [p for p in sorted(base.rglob("*.rst.gz"), key=order) if not p.is_symlink() and "translations" not in str(p)]
    files += [(p, gzip.decompress(p.read_bytes()).decode("utf-8", "replace")) for p in kernel[:2400]]
    for path, text in files:
        name = str(path.relative_to(root))
        for title, _, body in re.findall(r"^(\S[^\n]{5,90})\n([=\-~^\"*#])\2{3,}\n+((?:(?!\n[^\n]+\n[=\-~^\"*#]{4,}\n).|\n)*?)(?=\n[^\n]+\n[=\-~^\"*#]{4,}\n|\Z)", text + "\n", re.M)[:60]:
            title = plain(title)
            blocks = [plain(b) for b in body.split("\n\n") if b[:1].isalnum()]
            blocks = [b for b in blocks if 60 <= len(b) <= 500 and not SECRETIVE.search(b)]
            if blocks and 2 <= len(title.split()) <= 14 and not SECRETIVE.search(title):
                found.append((title, blocks[0], name))
    return found


def plain(text):
    """Removes the markup of reStructuredText."""
    text = re.sub(r":[\w:+-]+:`~?!?\.?([^`<]+?)(?: ?<[^`>]*>)?`", r"\1", text)
    text = re.sub(r"`+([^`<]+?)(?: ?<[^`>]*>)?`+_*", r"\1", text)
    return html.unescape(re.sub(r"\*+([^*]+)\*+", r"\1", " ".join(text.split())))
