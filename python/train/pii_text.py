"""Fills templates: text with the character spans of the personal data in it."""

import random
import re

import pii_carriers
import pii_forms
import pii_grammar
from pii_values import Values
from pii_values_wide import WideValues

SLOT = re.compile(r"\{\{|\}\}|\{(\w+)\}")


class Writer:
    """Writes documents of one split from its own templates, values and filler sentences."""

    def __init__(self, seed, sentences, negatives, documents, filler, test=False):
        self.rng = random.Random(seed)
        self.values = Values(self.rng, test)
        self.sentences, self.negatives, self.documents, self.filler = sentences, negatives, documents, filler

    def fill(self, template):
        """Fills one template: {"text", "spans": [[start, end, label], ...]}."""
        self.values.start()
        return self.expand(template)

    def document(self):
        """Returns a document of one to five sentences, or a form, letter, log, chat or table."""
        self.values.start()
        kind = self.rng.random()
        if kind < 0.42:
            return self.expand(self.rng.choice(self.documents))
        if kind < 0.60:
            return self.expand(self.rng.choice(self.sentences))
        if kind < 0.72:
            return self.join([self.negative() for _ in range(self.rng.randrange(1, 5))])
        return self.join([self.sentence() for _ in range(self.rng.randrange(2, 6))])

    def negative(self):
        from_prose = self.filler and self.rng.random() < 0.5
        return {"text": self.rng.choice(self.filler), "spans": []} if from_prose else self.expand(self.rng.choice(self.negatives))

    def sentence(self):
        return self.expand(self.rng.choice(self.sentences)) if self.rng.random() < 0.6 else self.negative()

    def join(self, parts):
        glue = self.rng.choice([" ", " ", "\n", "\n\n"])
        text, spans = "", []
        for part in parts:
            if text:
                text += glue
            spans += [[s + len(text), e + len(text), label] for s, e, label in part["spans"]]
            text += part["text"]
        return {"text": text, "spans": spans}

    def expand(self, template):
        text, spans, at = "", [], 0
        template = template.replace("\\n", "\n")
        for match in SLOT.finditer(template):
            text += template[at : match.start()]
            at = match.end()
            slot = match.group(1)
            if slot is None:
                text += match.group(0)[0]
            elif slot == "s":
                part = self.sentence()
                spans += [[s + len(text), e + len(text), label] for s, e, label in part["spans"]]
                text += part["text"]
            elif slot[0].isupper():
                label, value = self.values.entity(slot)
                spans.append([len(text), len(text) + len(value), label])
                text += value
            else:
                text += self.values.distractor(slot)
        return {"text": text + template[at:], "spans": spans}


class WideWriter(Writer):
    """Writes training documents of many layouts: phrases of the grammar, random forms, and real sentences with
    inserted values. `real` are such sentences, `plain` those that certainly name nobody."""

    def __init__(self, seed, real, plain):
        super().__init__(seed, [], [], [], plain)
        self.values = WideValues(self.rng)
        self.real = real
        self.forms = pii_forms.Forms(self.rng, self.line)

    def line(self):
        """Returns one line as a template: mostly a phrase, else a real sentence, with or without values."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.42:
            return pii_grammar.template("any", rng)
        if kind < 0.60:
            return pii_grammar.template("neg", rng)
        if kind < 0.86:
            return pii_carriers.carried(rng.choice(self.real), rng)
        return pii_carriers.written(rng.choice(self.filler), rng)

    def document(self):
        rng, kind = self.rng, self.rng.random()
        self.values.start()
        if kind < 0.30:
            text = self.line()
        elif kind < 0.55:
            text = rng.choice([" ", " ", " ", "\n", "\n\n", " - ", "; "]).join(self.line() for _ in range(rng.randrange(2, 5)))
        elif kind < 0.93:
            text = self.forms.template()
        else:
            text = pii_carriers.soup(rng)
        return self.expand(text)
