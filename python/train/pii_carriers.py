"""Real sentences that carry generated values.

A name replaces a pronoun, or a value is inserted at any place, with or without a word that introduces it.
"""

import re

import pii_grammar

SUBJECT = {"he", "she", "they", "we", "i", "someone", "everyone", "everybody", "nobody"}
OBJECT = {"him", "me", "us", "them"}
OWNER = {"his", "their", "my", "our"}
AUXILIARY = {"am": "is", "have": "has", "are": "is", "were": "was", "do": "does", "'m": "'s"}
KIN = r"\b(?:my|our|the) (?:mom|mother|dad|father|boss|friend|wife|husband|brother|sister|son|daughter|captain|doctor|president|senator|girlfriend|boyfriend|neighbor|people|man|woman)\b"
WORD = re.compile(r"[A-Za-z']+")
# Values that are recognisable by their shape, so that they need no introducing word.
SHAPED = ["{EMAIL}", "{EMAIL}", "{PHONE}", "{PHONE}", "{CARD}", "{IBAN}", "{IP}", "{IP}", "{PERSON}", "{PERSON}", "{PERSON}", "{ADDRESS}", "{SSN}"]
OTHERS = ["{order}", "{date}", "{amount}", "{version}", "{hash}", "{uuid}", "{stamp}", "{isbn}", "{mac}", "{url}", "{org}", "{city}", "{time}", "{long}", "{cword}", "{product}", "{num}"]
CUED = ["<tel> {PHONE}", "<cc> {CARD}", "IBAN {IBAN}", "<ss> {SSN}", "<born> {DOB}", "<born2> {DOB}", "<born2>: {DOB}", "ip {IP}", "<id> <ref>", "<id> <ref>", "e-mail {EMAIL}", "<kin> {FIRST}", "<Kin> {LAST}", "{title} {LAST}", "<role> {PERSON}", "<lives> {ADDRESS}", "at {ADDRESS}", "account {IBAN}", "by {PERSON}", "from {PERSON}", "with {FIRST}", "for {FIRST} and {FIRST2}"]
WRAPS = ["{v}", "{v}", "{v}", "({v})", ", {v},", "- {v} -", ": {v}", "\"{v}\"", "[{v}]", "'{v}'", "<{v}>", "= {v}", "/ {v} /", "*{v}*", "{v},", "{v}:", "{v}."]


def safe(text):
    """Replaces braces, which would be slots, by parentheses."""
    return text.replace("{", "(").replace("}", ")")


def renamed(sentence, rng):
    """Replaces pronouns and words for people by names; None if there are none."""
    names = ["{FIRST}", "{FIRST}", "{PERSON}", "{title} {LAST}", "{PERSON2}", "{FIRST2}", "{LAST}"]
    count = 0

    def name():
        nonlocal count
        count += 1
        return rng.choice(names)

    if rng.random() < 0.9:
        sentence = re.sub(KIN, lambda m: name() if rng.random() < 0.7 else m.group(0), sentence, flags=re.I)
    words = re.split(r"(\s+)", sentence)
    for i in range(0, len(words), 2):
        plain = words[i].lower().strip(".,;:!?\"")
        tail = words[i][len(words[i].rstrip(".,;:!?\"")) :]
        if count >= 3 or rng.random() < 0.35:
            continue
        if plain in SUBJECT or plain in OBJECT:
            words[i] = name() + tail
            if plain in SUBJECT and i + 2 < len(words):
                words[i + 2] = AUXILIARY.get(words[i + 2], words[i + 2])
        elif plain in OWNER:
            words[i] = name() + "'s" + tail
        elif plain in {"i'm", "he's", "she's", "they're", "we're"}:
            words[i] = name() + rng.choice([" is", "'s"])
    return "".join(words) if count else None


def inserted(sentence, rng):
    """Inserts one to three values at any place between two words."""
    words = sentence.split(" ")
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        pick = rng.random()
        value = rng.choice(SHAPED) if pick < 0.5 else rng.choice(CUED) if pick < 0.8 else rng.choice(OTHERS)
        if "<" in value:
            value = pii_grammar.REFERENCE.sub(lambda m: pii_grammar.template(m.group(1), rng).strip(".!?"), value)
        at = rng.choice([0, len(words), rng.randrange(len(words) + 1), rng.randrange(len(words) + 1)])
        words.insert(at, rng.choice(WRAPS).replace("{v}", value))
    return " ".join(words)


def written(sentence, rng):
    """Varies how carefully a sentence is typed: questions to assistants often come without capitals."""
    sentence = safe(sentence)
    if rng.random() < 0.5 and sentence[:1].islower():
        sentence = sentence[0].upper() + re.sub(r"\bi\b", "I", sentence[1:])
        if sentence[-1:].isalnum() and rng.random() < 0.7:
            sentence += rng.choice([".", ".", "?", "!"])
    return sentence


def carried(sentence, rng):
    """Makes a template of a real sentence."""
    sentence = written(sentence, rng)
    made = renamed(sentence, rng) if rng.random() < 0.55 else None
    return made or inserted(sentence, rng)


def soup(rng):
    """Returns values and words in a row, without context."""
    glue = rng.choice([" ", " ", "\n", ", ", "; ", " | ", "\t", " - ", "/", " / ", ". "])
    kinds = [lambda: rng.choice(SHAPED), lambda: rng.choice(OTHERS), lambda: "{word}", lambda: rng.choice(CUED)]
    parts = [rng.choices(kinds, [5, 3, 3, 2])[0]() for _ in range(rng.randrange(2, 8))]
    parts = [pii_grammar.REFERENCE.sub(lambda m: pii_grammar.template(m.group(1), rng).strip(".!?"), p) for p in parts]
    return glue.join(parts)
