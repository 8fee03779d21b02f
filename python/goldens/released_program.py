"""Compares a built program with the answers of `transformers` for the embedded models, through its command line.

    python3 python/goldens/released_program.py target/dist/bigbatch-*/bigbatch
    python3 python/goldens/released_program.py chroot DIR /bigbatch

The arguments are the program, with whatever it is to be started by. `crates/models/tests/transformers.rs` compares
the same goldens inside one process, for each commit; this is for a program that was linked for another machine. Not
compared are the rows of the tagger, which the command line does not print.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "crates" / "models"
PROSE = (ROOT / "crates" / "validate" / "corpus" / "prose.txt").read_text(encoding="utf-8")
# Those of crates/engine/tests/parity.rs.
LOGITS = 2e-5
PROBABILITY = 5e-6


def answers(program, name, texts, command):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    arguments = [*command, "--json", "--model", f"embedded:{name}", "--input", "-", "--input-format", "jsonl"]
    done = subprocess.run([*program, *arguments], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def scores(answer, labels):
    found = {label["label"]: label["score"] for label in answer["labels"]}
    return [found[label] for label in labels]


def compare(program, name, cases):
    """Yields what is compared, the largest difference and its limit."""
    texts = [case.get("text", PROSE[: case.get("prose_characters", 0)]) for case in cases]
    config = json.loads((MODELS / name / "config.json").read_text(encoding="utf-8"))
    labels = [label for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0]))]

    def difference(key, command, limit, read):
        got = answers(program, name, texts, command)
        assert [a["tokens"] for a in got] == [case["tokens"] for case in cases], f"{name}: other tokens"
        pairs = [pair for a, case in zip(got, cases) for pair in zip(read(a), case[key], strict=True)]
        yield f"{name} {key}", max(abs(a - b) for a, b in pairs), len(pairs), limit

    if "logits" in cases[0]:
        yield from difference("logits", ["classify", "--raw-scores"], LOGITS, lambda a: scores(a, labels))
        yield from difference("probabilities", ["classify"], PROBABILITY, lambda a: scores(a, labels))
    if "embedding" in cases[0]:
        yield from difference("embedding", ["embed"], PROBABILITY, lambda a: a["embedding"])


def main():
    program = sys.argv[1:]
    if not program:
        sys.exit(__doc__)
    goldens = json.loads((MODELS / "tests" / "data" / "transformers.json").read_text(encoding="utf-8"))
    worst_is_fine = True
    compared = 0
    for name, cases in goldens.items():
        if not isinstance(cases, list):
            continue
        for what, worst, numbers, limit in compare(program, name, cases):
            # Not `worst > limit`, which a NaN passes.
            fine = worst <= limit
            worst_is_fine &= fine
            compared += numbers
            print(f"{what}: {numbers} numbers, at most {worst:.1e} of {limit:.0e}{'' if fine else '  FAILED'}")
    assert compared > 500, "the goldens are almost empty"
    sys.exit(0 if worst_is_fine else 1)


main()
