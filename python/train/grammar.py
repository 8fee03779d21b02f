"""A grammar of phrases: alternatives that name each other.

In the text of a rule, `<name>` is another rule and `{a|b|}` a choice without a name; each line is one alternative.
Braces and bars of the text itself are written as the signs of `LITERAL`.
Validation text comes from alternatives that training never sees: of each rule with more than a few lines, every
seventh (by a hash of the line) belongs to validation.
"""

import re
import zlib

FEWEST_TO_SPLIT = 6
ONE_IN = 7
SLOT = re.compile(r"<(\w+)>|\{([^{}]*)\}")
LITERAL = str.maketrans("⦃⦄¦", "{}|")


def held(text):
    return zlib.crc32(text.encode()) % ONE_IN == 0


def part(items, split):
    """Returns the items of one split; a short list belongs to both."""
    items = list(items)
    chosen = [item for item in items if held(str(item)) == (split == "validation")]
    return chosen if len(items) >= FEWEST_TO_SPLIT and chosen else items


class Grammar:
    """The rules for one split. A rule's training lines are a part of its validation lines too, because a phrase of
    known words in an unknown order is what a reader types; `top` rules, which give the order, are kept apart."""

    def __init__(self, rules, split, top):
        self.rules = {}
        for name, text in rules.items():
            lines = [line.strip() for line in text.strip().splitlines()]
            self.rules[name] = part(lines, split) if name in top else lines

    def expand(self, name, rng):
        return self.fill(rng.choice(self.rules[name]), rng)

    def fill(self, text, rng):
        def chosen(match):
            name, choice = match.groups()
            if name is None:
                return rng.choice(choice.split("|"))
            return rng.choice(self.rules[name]) if name in self.rules else match[0]

        before = None
        while before != text:
            before, text = text, SLOT.sub(chosen, text)
        return " ".join(text.split(" ")).translate(LITERAL)
