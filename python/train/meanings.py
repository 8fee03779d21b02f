"""Sentences of everyday life and support, several wordings per meaning, each meaning with an answer.

`meanings.txt` was written for this project: a paragraph per meaning, a line per wording, an answer behind `=`;
`{a|b}` is a choice. Every fifth meaning is kept for the test, every tenth for validation.
"""

import pathlib

from grammar import Grammar

TOPICS = pathlib.Path(__file__).parent / "meanings.txt"
SPLITS = ["train", "test", "train", "train", "validation", "train", "test", "train", "train", "train"]


def meanings():
    """Returns [(split, wordings, answers)]."""
    found = []
    for number, block in enumerate(TOPICS.read_text(encoding="utf-8").strip().split("\n\n")):
        lines = block.splitlines()
        answers = [line[2:] for line in lines if line.startswith("= ")]
        found.append((SPLITS[number % len(SPLITS)], [line for line in lines if not line.startswith("=")], answers))
    return found


def written(line, rng):
    """Writes one of the forms of a wording."""
    text = " ".join(Grammar({}, "train", ()).fill(line, rng).split())
    for before, after in ((" ,", ","), (" .", "."), (" ?", "?")):
        text = text.replace(before, after)
    return text[0].upper() + text[1:]
