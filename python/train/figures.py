"""Measures of quality with their 95 % intervals, as metrics.json stores them."""

import json
import math
import pathlib

import numpy as np


def wilson(hits, n, z=1.959964):
    """Returns a share with its 95 % interval (Wilson 1927)."""
    if n == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"value": p, "low": middle - half, "high": middle + half, "n": n}


def f1_of(tp, fp, fn):
    return 2 * tp / (2 * tp + fp + fn) if tp else 0.0


def f1(per_item, seed=0, rounds=1000):
    """Returns F1 over items' (tp, fp, fn), with a 95 % percentile bootstrap over items."""
    counts = np.asarray(per_item, dtype=np.int64).reshape(-1, 3)
    tp, fp, fn = counts.sum(0)
    rng = np.random.default_rng(seed)
    draws = sorted(f1_of(*counts[rng.integers(0, len(counts), len(counts))].sum(0)) for _ in range(rounds))
    return {
        "value": f1_of(tp, fp, fn),
        "low": draws[int(0.025 * rounds)],
        "high": draws[int(0.975 * rounds)],
        "precision": float(tp / (tp + fp)) if tp + fp else 0.0,
        "recall": float(tp / (tp + fn)) if tp + fn else 0.0,
        "n": len(counts),
    }


def calibration(certainty, right, bins=15):
    """Returns the expected calibration error of Guo et al. 2017: the distance of certainty from the share that is
    right, averaged over bins of equal width, weighted by the answers in each."""
    place = np.minimum((certainty * bins).astype(int), bins - 1)
    gaps = [abs(right[place == b].sum() - certainty[place == b].sum()) for b in range(bins)]
    return {"expected_error": sum(gaps) / len(right), "mean_certainty": certainty.mean(), "share_right": right.mean(), "n": len(right)}


def confusion(truth, found, labels):
    """Returns the confusion matrix; rows are the truth."""
    table = [[0] * len(labels) for _ in labels]
    for t, f in zip(truth, found):
        table[t][f] += 1
    return {"labels": list(labels), "rows": table}


def save(out, metrics):
    (pathlib.Path(out) / "metrics.json").write_text(json.dumps(metrics, indent=1, default=float) + "\n")


def precision_check(wide, narrow):
    """Compares probabilities of f32 weights with those of their f16 copies, row by row."""
    wide, narrow = np.concatenate(wide), np.concatenate(narrow)
    same = wide.argmax(-1) == narrow.argmax(-1)
    return {"rows": len(wide), "same_label": float(same.mean()), "max_probability_difference": float(np.abs(wide - narrow).max())}
