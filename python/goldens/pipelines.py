"""Writes the answers of `transformers`' pipelines: crates/server/tests/fixtures/transformers-pipelines.json.

    pip install torch==2.11.0 transformers==5.17.0 tokenizers==0.23.3
    python3 python/goldens/pipelines.py

Token classification by the embedded model `pii`, with its own byte-level vocabulary and with a WordPiece one, whose
ids mean other words to the model: its labels then differ within words, which is what the strategies are about.
Zero-shot classification by `jailbreak` and `intent` under labels of entailment. Nothing is trained for it; the test,
crates/server/tests/wire/pipelines.rs, gives its models the same labels and compares the answers.
"""

import json
import pathlib

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "crates" / "models"
OUT = ROOT / "crates" / "server" / "tests" / "fixtures" / "transformers-pipelines.json"
TEXTS = [
    "I am Laura Bennett, my number is 555-867-5309 and my mail is laura.b@example.com.",
    "Élodie Müller met 東京 and Zoë 🙂 — at the café in Łódź.",
    "\n\n  Ada\tLovelace\nlives  at 12 Baker Street, London  ",
    "unhappily Bennett-Müller [SEP] O'Brien",
]
LONG = " ".join(TEXTS[:2] + ["It rained."] + TEXTS[2:]) * 4
STRATEGIES = ["none", "simple", "first", "average", "max"]
PREMISES = ["My card was stolen yesterday", "Ärger mit dem Zug 🙂"]
MANY = [f"LABEL_{n}" for n in range(151)]


def wordpiece():
    letters = "abcdefghijklmnopqrstuvwxyzABCDEIJLMOSUZ0123456789"
    words = ["un", "##happy", "##ily", "my", "mail", "##nnett", "Ba", "##ker", "is", "at", ".", ",", "-", "@", "'", "é", "ü"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, *(f"##{c}" for c in letters + "éüëź")]
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", special)
    return tokenizer


def load(cls, name, labels=None):
    model = cls.from_pretrained(MODELS / name, dtype=torch.float32, attn_implementation="sdpa").eval()
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: n for n, label in enumerate(labels)}
    return model, transformers.AutoTokenizer.from_pretrained(MODELS / name)


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return float(f"{float(value):.9g}") if hasattr(value, "dtype") or isinstance(value, float) else value


def tags(own_tokenizer, pieces):
    model, own = load(transformers.AutoModelForTokenClassification, "pii")
    other = transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]", pad_token="[PAD]")
    for name, tokenizer in [(own_tokenizer, own), ("wordpiece", other)]:
        pipeline = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)
        cases = [(text, {"aggregation_strategy": s}, None) for text in TEXTS for s in STRATEGIES]
        for ignored in [[], ["PERSON", "B-PERSON"]]:
            cases += [(TEXTS[0], {"aggregation_strategy": s, "ignore_labels": ignored}, None) for s in STRATEGIES]
        for strategy in STRATEGIES[1:]:
            cases.append((LONG, {"aggregation_strategy": strategy, "stride": 40}, 256))
            cases.append((TEXTS[1] + TEXTS[0], {"aggregation_strategy": strategy, "stride": 7}, 24))
            everything = {"aggregation_strategy": strategy, "stride": 3, "ignore_labels": []}
            cases.append((TEXTS[1] + TEXTS[0], everything, 12))
        for text, parameters, length in cases:
            tokenizer.model_max_length = length or 32768
            answer = plain(pipeline(text, **parameters))
            yield {"tokenizer": name, "text": text, "parameters": parameters, "length": length, "answer": answer}


def zero_shots():
    for name, labels in [
        ("jailbreak", ["entailment", "not_entailment"]),
        ("jailbreak", ["contradiction", "ENTAILED"]),
        ("intent", ["contradiction", "neutral", "Entailment", *MANY[3:]]),
        ("intent", ["entailment", "neutral", *MANY[2:-1], "contradiction"]),
    ]:
        model, tokenizer = load(transformers.AutoModelForSequenceClassification, name, labels)
        pipeline = transformers.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer)
        for text in PREMISES:
            for parameters in [
                {"candidate_labels": ["banking", "sports", "travel by train"]},
                {"candidate_labels": "banking, sports,, travel"},
                {"candidate_labels": ["banking", "sports"], "multi_label": True},
                {"candidate_labels": ["banking"]},
                {"candidate_labels": ["Zug", "Bank"], "hypothesis_template": "Es geht um {}, sagt man."},
            ]:
                answer = plain(pipeline(text, **parameters))
                yield {"model": name, "labels": labels, "text": text, "parameters": parameters, "answer": answer}


def main():
    pieces = wordpiece()
    written = {"transformers": transformers.__version__, "wordpiece": json.loads(pieces.to_str())}
    written |= {"tags": list(tags("pii", pieces)), "zero_shots": list(zero_shots())}
    lines = json.dumps(written, ensure_ascii=False, separators=(",", ":")).replace('},{"tokenizer"', '},\n{"tokenizer"')
    OUT.write_text(lines.replace('},{"model"', '},\n{"model"') + "\n", encoding="utf-8")
    print(len(written["tags"]), len(written["zero_shots"]))


if __name__ == "__main__":
    main()
