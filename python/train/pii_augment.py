"""Changes a training document each time it is read, so that no carrier and no value is seen twice.

It draws other values of the same kind, other digits, other words around them, other capitals and typing
errors. Words that define a value stay: without "born", a date of birth is a date.
"""

import collections
import re
import string

CUES = set(
    """born birth birthday birthdate bday dob date of geb né née nacido geboren nato född naissance nacimiento day phone tel mobile
    cell call text fax number no dial ring sms whatsapp hotline card visa mastercard amex credit debit pan iban account social security
    ssn ss address street live lives lived ship at to from by mr mrs ms dr prof dear hi hello hey name version build isbn order
    invoice tracking serial ref reference""".split()
)
DIGITS = {"PHONE", "CREDIT_CARD", "SSN", "IBAN"}
WORD = re.compile(r"[^\W\d_]{2,}")


class Augment:
    def __init__(self, rows):
        self.pools = collections.defaultdict(list)
        words = collections.Counter()
        for row in rows:
            for start, end, name in row["spans"]:
                self.pools[self.kind(name, row["text"][start:end])].append(row["text"][start:end])
            for carrier, _ in pieces(row):
                words.update(w for w in WORD.findall(carrier) if w.islower())
        self.words = [w for w, n in words.items() if n >= 3]
        self.known = set(self.words)

    @staticmethod
    def kind(name, value):
        """Returns the kind within which values can replace each other; first names alone are a kind of their own."""
        return name, name == "PERSON" and " " not in value, "\n" in value

    def __call__(self, row, rng):
        parts = pieces(row)
        if rng.random() < 0.5:
            parts = [(c, self.other(v, rng)) for c, v in parts]
        if rng.random() < 0.4:
            share, capitals = rng.choice([0.05, 0.15, 0.3, 0.5]), rng.choice([0.0, 0.0, 0.1, 0.3])
            parts = [(WORD.sub(lambda m: self.word(m.group(0), share, capitals, rng), c), v) for c, v in parts]
        if rng.random() < 0.08:
            parts = [(slip(c, rng), v) for c, v in parts]
        pick = rng.random()
        change = str.lower if pick < 0.10 else str.upper if pick < 0.13 else str.title if pick < 0.15 else None
        if change:
            whole = rng.random() < 0.5
            parts = [(change(c), v and (change(v[0]) if whole and change is not str.title else v[0], v[1])) for c, v in parts]
        return joined(parts)

    def other(self, value, rng):
        if value is None:
            return None
        text, name = value
        if name in DIGITS and rng.random() < 0.7:
            keep = 1 if name == "CREDIT_CARD" else 3 if name == "PHONE" and text[0] in "+(" else 0
            return text[:keep] + "".join(string.digits[int(rng.integers(10))] if c in string.digits else c for c in text[keep:]), name
        pool = self.pools[self.kind(name, text)]
        return (pool[int(rng.integers(len(pool)))], name) if rng.random() < 0.7 else value

    def word(self, word, share, capitals, rng):
        """Returns another word with the same capitals, or this one with a capital, which alone does not make a name."""
        if word in CUES or word.lower() not in self.known:
            return word
        if word.islower() and rng.random() < capitals:
            return word.capitalize()
        if rng.random() >= share or not (word.islower() or word == word.capitalize()):
            return word
        other = self.words[int(rng.integers(len(self.words)))]
        return other if word.islower() else other.capitalize()


def pieces(row):
    """Splits a document into [(carrier, (value, name)), ..., (carrier, None)]."""
    out, at, text = [], 0, row["text"]
    for start, end, name in sorted(row["spans"]):
        out.append((text[at:start], (text[start:end], name)))
        at = end
    return out + [(text[at:], None)]


def joined(parts):
    text, spans = "", []
    for carrier, value in parts:
        text += carrier
        if value:
            spans.append([len(text), len(text) + len(value[0]), value[1]])
            text += value[0]
    return {"text": text, "spans": spans}


def slip(text, rng):
    """Drops or doubles letters inside words, or exchanges them with the next, here and there."""

    def typo(match):
        word = match.group(0)
        if rng.random() > 0.15 or len(word) < 4:
            return word
        i = 1 + int(rng.integers(len(word) - 2))
        return [word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word[:i] + word[i + 1] + word[i] + word[i + 2 :]][int(rng.integers(3))]

    return WORD.sub(typo, text)
