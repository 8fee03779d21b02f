"""Draws how two servers answer the cells of a plan, from their results: docs/images/peers-light.svg and -dark.svg.

    python3 python/peers/plan_chart.py docs/results/2026-12-01-h200/bigbatch.json docs/results/2026-12-01-h200/transformers.json

Both results come from `bigbatch validate --plan python/peers/plan.toml --target URL` in one session on one machine.
"""

import json
import pathlib
import sys

CLIENTS = 100
LEFT, WIDTH, BAR, ROW = 225, 390, 18, 26
COLOURS = {
    "light": ("#1f2328", "#59636e", "#0969da", "#afb8c1"),
    "dark": ("#f0f6fc", "#9198a1", "#4493f8", "#656c76"),
}


def cells(path):
    """Returns tokens per second and the p95 in milliseconds (a lower bound with a sign), by tokens per request."""
    found = {}
    for cell in json.loads(pathlib.Path(path).read_text())["cells"]:
        if cell["concurrency"] == CLIENTS and cell["run"] == 0:
            figures = cell["status"]["figures"]
            rate = figures["successes"] / figures["measured_seconds"] * cell["tokens"]
            shown = figures["latency"]["p95"]["shown"]
            bound = "" if shown["kind"] == "exactly" else "\N{GREATER-THAN OR EQUAL TO} "
            found[cell["tokens"]] = rate, f"{bound}{shown['ms']:,.0f} ms"
    return found


def draw(ours, peer, colours):
    ink, soft, blue, grey = colours
    largest = max(rate for rate, _ in ours.values())
    lines = []

    def text(x, y, words, fill=ink, weight=400):
        lines.append(f'<text x="{x}" y="{y}" fill="{fill}" font-weight="{weight}">{words}</text>')

    text(10, 20, f"tokens per second with {CLIENTS} clients, over HTTP, and the p95", ink, 600)
    y = 40
    for tokens, (rate, p95) in sorted(ours.items()):
        text(10, y + 14, f"{tokens} tokens", ink, 600)
        text(LEFT - 100, y + 14, "bigbatch")
        text(LEFT - 100, y + 14 + ROW, "transformers")
        for (value, late), fill in [((rate, p95), blue), (peer[tokens], grey)]:
            width = WIDTH * value / largest
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{fill}"/>')
            times = f", {rate / value:.1f}x fewer" if fill == grey else ""
            text(LEFT + round(width) + 8, y + 14, f"{value / 1e6:.2f} M, {late}{times}", soft)
            y += ROW
        y += 12
    size = f'viewBox="0 0 820 {y}" width="820" height="{y}"'
    font = 'font-family="-apple-system,Segoe UI,Helvetica,Arial,sans-serif" font-size="14"'
    title = "<title>Tokens per second of bigbatch and of a server on transformers</title>"
    body = "\n".join([title, *lines])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">\n{body}\n</svg>\n'


def main():
    ours, peer = cells(sys.argv[1]), cells(sys.argv[2])
    images = pathlib.Path(__file__).resolve().parents[2] / "docs/images"
    for theme, colours in COLOURS.items():
        (images / f"peers-{theme}.svg").write_text(draw(ours, peer, colours))
    for tokens in sorted(ours):
        print(tokens, f"{ours[tokens][0]:.0f}", ours[tokens][1], f"{peer[tokens][0]:.0f}", peer[tokens][1])


if __name__ == "__main__":
    main()
