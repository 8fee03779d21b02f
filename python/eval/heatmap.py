"""Heat maps of needle.py's figures: as Markdown, and as one SVG per model."""

CELL, LEFT, TOP, GAP = 46, 78, 64, 40
MARKS = [(0.95, "🟩"), (0.8, "🟨"), (0.5, "🟧"), (0.0, "🟥")]
WHAT = {"jailbreak": "an injection", "pii": "an item of personal data"}


def thousands(tokens):
    return f"{tokens // 1024}K" if tokens % 1024 == 0 else str(tokens)


def interval(figure):
    return f"{100 * figure['value']:.0f} ({100 * figure['low']:.0f}-{100 * figure['high']:.0f})"


def mark(figure):
    return next(m for least, m in MARKS if figure["value"] >= least)


def table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def rule(task, why, cells):
    if task == "pii":
        return "an entity of the right kind on each planted one"
    return f"score of `injection` at least {cells['threshold']:g} (fixed by {why})"


def in_short(result, results):
    """Averages over depths, at the first threshold: percent found, and percent found where nothing was planted."""
    rows = []
    for reading, entry in result["readings"].items():
        cells = next(iter(entry["at"].values()))
        depths = list(zip(*cells["recall"]))
        found = [100 * sum(f["value"] for f in column) / len(column) for column in depths]
        rows.append([results["readings"][reading], *(f"{a:.0f} / {100 * b['value']:.0f}" for a, b in zip(found, cells["false_positives"]))])
    return table(["read as", *map(thousands, results["lengths"])], rows)


def markdown(results):
    lengths = [thousands(n) for n in results["lengths"]]
    parts = [
        "# Needles in long texts\n\n<!-- Written by python/eval/needle.py. -->\n",
        f"A cell gives the percentage of {results['per_cell']} texts in which the needle was found, with its 95 % Wilson interval, by depth and by length in tokens; device: {results['device']}. "
        "[README.md](../README.md) describes the test and how to read its results. "
        + ", ".join(f"{m} from {100 * least:.0f} %" for least, m in MARKS)
        + ".\n",
    ]
    for task, result in results["models"].items():
        parts.append(f"## {WHAT[task]}\n\n![recall by length and depth](needle-{task}.svg)\n")
        parts.append("Percent found, averaged over depths / percent found where nothing was planted:\n\n" + in_short(result, results))
        for reading, entry in result["readings"].items():
            parts.append(f"### Read as {results['readings'][reading]}\n")
            for why, cells in entry["at"].items():
                rows = [[f"{d} %", *(f"{mark(f)} {interval(f)}" for f in row)] for d, row in zip(results["depths"], cells["recall"])]
                rows.append(["none planted, yet found", *(interval(f) for f in cells["false_positives"])])
                parts.append(f"Found means: {rule(task, why, cells)}.\n\n" + table(["depth", *lengths], rows))
            parts.append(f"{entry['texts']} texts, {entry['texts_read']} of them different, {entry['tokens']} tokens, {entry['seconds']} s.\n")
    return "\n".join(parts)


def colour(share):
    """Returns a colour from red over yellow to green for a share of 0 to 1."""
    low, middle, high = (214, 80, 70), (245, 210, 110), (72, 160, 110)
    a, b, t = (low, middle, share * 2) if share < 0.5 else (middle, high, share * 2 - 1)
    return "#" + "".join(f"{round(x + (y - x) * t):02x}" for x, y in zip(a, b))


def svg(task, result, results):
    """Draws one panel per reading, at the first threshold; the bottom row is for texts without a needle."""
    lengths, depths = results["lengths"], results["depths"]
    panel = len(lengths) * CELL
    width = LEFT + len(result["readings"]) * (panel + GAP)
    height = TOP + (len(depths) + 2) * CELL
    draw = []

    def text(x, y, content, anchor="middle", size=12):
        draw.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}">{content}</text>')

    def cell(x, y, figure, fill):
        draw.append(f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" fill="{fill}"/>')
        text(x + CELL / 2 - 1, y + CELL / 2 + 4, f"{100 * figure['value']:.0f}")

    text(8, 20, f"{WHAT[task]}: percent found, by depth and tokens of the text", "start", 14)
    for depth, y in zip(depths, range(TOP, height, CELL)):
        text(LEFT - 8, y + CELL / 2 + 4, f"{depth} %", "end")
    below = TOP + len(depths) * CELL + CELL // 3
    text(LEFT - 8, below + CELL / 2 + 4, "none", "end")
    for number, (reading, entry) in enumerate(result["readings"].items()):
        left = LEFT + number * (panel + GAP)
        cells = next(iter(entry["at"].values()))
        text(left + panel / 2, 42, reading, size=13)
        for column, length in enumerate(lengths):
            x = left + column * CELL
            text(x + CELL / 2, TOP - 6, thousands(length), size=11)
            for row in range(len(depths)):
                figure = cells["recall"][row][column]
                cell(x, TOP + row * CELL, figure, colour(figure["value"]))
            figure = cells["false_positives"][column]
            cell(x, below, figure, colour(1 - figure["value"]))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *draw, "</svg>"]) + "\n"
