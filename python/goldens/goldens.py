"""Writes the engine's parity goldens: tiny random models and the outputs of `transformers` for them.

    pip install torch==2.11.0 transformers==5.17.0 tokenizers==0.23.3
    python3 python/goldens/goldens.py [--only CASE ...] [--exact]

Each entry of `CASES` becomes crates/engine/tests/goldens/CASE/ with config.json, model.safetensors (or
shards) and expected.json; text.json beside them holds tokenizer goldens. The README there describes the
files. The model is loaded back from the written files, in float32 on the CPU, so that the goldens test what
is stored. `--exact` also runs the independent float64 forward pass of modernbert_reference.py and prints how
far float32 is from it.

The weights are the initialisation of `transformers`, sharpened: rows of q and k times 2.5, attn.Wo and
mlp.Wo times 4. Without that a model without RoPE or without the window would pass almost any test. In
addition mlp.Wi is multiplied by 3 and head.dense by 8, so that GELU gets inputs where its tanh
approximation is off. Norm weights and biases are perturbed, so that a missing or exchanged one shows. A tiny
model needs a larger initializer_range for scores as large as a full model's. Long inputs get a smaller one,
because `transformers` rounds RoPE's angles to float32 (1e-3 off at 20000), which would show.
"""

import argparse
import copy
import json
import pathlib

import tokenizers
import torch
import transformers
from safetensors.torch import save_file

from modernbert_reference import Reference, with_training_config

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "crates" / "engine" / "tests" / "goldens"
TOKENIZER = ROOT / "crates" / "models" / "random" / "tokenizer.json"
PROSE = ROOT / "crates" / "validate" / "corpus" / "prose.txt"
FIRST_ID, CLS_ID, SEP_ID = 5, 2, 3
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
PLAIN = {"rope_type": "default"}
YARN_32K = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}

CASES = {
    "base-new-yarn-long": {
        "seed": 11,
        "store": "f16",
        "config": {
            "architectures": ["ModernBertModel"],
            "vocab_size": 256,
            "hidden_size": 64,
            "num_attention_heads": 1,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "max_position_embeddings": 32768,
            "initializer_range": 0.032,
            "rope_parameters": {
                "full_attention": {**YARN_32K, "rope_theta": 160000.0, "beta_fast": 32.0, "beta_slow": 1.0},
                "sliding_attention": {**PLAIN, "rope_theta": 10000.0},
            },
        },
        "lengths": [130, 1000, 9000, 20001],
        "rows": [0, 1, 63, 64, 65, 127, 128, 129, 500, 4500, 8191, 8192, 16384],
    },
    "mlm-legacy-yarn-sharded": {
        "seed": 23,
        "store": "bf16",
        "shards": 2,
        "config": {
            "architectures": ["ModernBertForMaskedLM"],
            "vocab_size": 300,
            "hidden_size": 128,
            "num_attention_heads": 2,
            "intermediate_size": 36,
            "num_hidden_layers": 3,
            "global_attn_every_n_layers": 3,
            "max_position_embeddings": 256,
            "initializer_range": 0.045,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            "tie_word_embeddings": True,
            "decoder_bias": True,
            "sparse_prediction": True,
        },
        "lengths": [1, 2, 63, 66, 127, 130, 1000],
        "rows": [0, 64],
    },
    "seqcls-mean-softmax-legacy": {
        "seed": 37,
        "store": "f16",
        "config": {
            "architectures": ["ModernBertForSequenceClassification"],
            "vocab_size": 256,
            "hidden_size": 64,
            "num_attention_heads": 1,
            "intermediate_size": 24,
            "num_hidden_layers": 7,
            "global_attn_every_n_layers": 3,
            "max_position_embeddings": 8192,
            "initializer_range": 0.06,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "classifier_pooling": "mean",
            "problem_type": "single_label_classification",
            "id2label": {"0": "negative", "1": "neutral", "2": "positive"},
        },
        "lengths": [1, 2, 63, 64, 65, 66, 127, 128, 129, 130, 1000],
        "rows": [0, 64, 128],
    },
    "seqcls-cls-one-label-biases": {
        "seed": 41,
        "store": "f32",
        "config": {
            "architectures": ["ModernBertForSequenceClassification"],
            "vocab_size": 256,
            "hidden_size": 64,
            "num_attention_heads": 2,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "global_attn_every_n_layers": 2,
            "max_position_embeddings": 8192,
            "initializer_range": 0.06,
            "rope_parameters": {
                "full_attention": {**PLAIN, "rope_theta": 80000.0},
                "sliding_attention": {**PLAIN, "rope_theta": 10000.0},
            },
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
            "classifier_bias": True,
            "classifier_pooling": "cls",
            "id2label": {"0": "relevance"},
        },
        "lengths": [1, 2, 64, 128, 129, 1000],
        "rows": [0, 64],
    },
    "seqcls-multilabel-training-config": {
        "seed": 53,
        "store": "bf16",
        "config": {
            "architectures": ["ModernBertForSequenceClassification"],
            "vocab_size": 256,
            "hidden_size": 64,
            "num_attention_heads": 1,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "global_attn_every_n_layers": 3,
            "max_position_embeddings": 8192,
            "initializer_range": 0.034,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "classifier_pooling": "mean",
            "problem_type": "multi_label_classification",
            "id2label": {"0": "toxic", "1": "insult", "2": "threat", "3": "identity", "4": "other"},
        },
        "training_config": {
            "rope_scaling_type": "yarn",
            "model_max_length": 32768,
            "rope_original_max_position_embeddings": 8192,
        },
        "lengths": [2, 65, 130, 1000, 9000],
        "rows": [0, 64],
    },
    "tokcls-bio-new-window64": {
        "seed": 67,
        "store": "bf16",
        "config": {
            "architectures": ["ModernBertForTokenClassification"],
            "vocab_size": 256,
            "hidden_size": 192,
            "num_attention_heads": 3,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "max_position_embeddings": 512,
            "local_attention": 64,
            "initializer_range": 0.035,
            "rope_parameters": {
                "full_attention": {
                    "rope_type": "yarn",
                    "rope_theta": 160000.0,
                    "factor": 4.0,
                    "original_max_position_embeddings": 128,
                    "attention_factor": 1.2,
                    "beta_fast": 16.0,
                    "beta_slow": 2.0,
                },
                "sliding_attention": {**PLAIN, "rope_theta": 20000.0},
            },
            "id2label": {"0": "O", "1": "B-PER", "2": "I-PER", "3": "B-LOC", "4": "I-LOC"},
        },
        "lengths": [1, 2, 63, 64, 65, 66, 127, 128, 129, 130, 1000],
        "rows": [0, 32, 64],
    },
}

# Keys of every config.json beside those of its case.
COMMON = {
    "model_type": "modernbert",
    "hidden_activation": "gelu",
    "classifier_activation": "gelu",
    "norm_eps": 1e-5,
    "local_attention": 128,
    "initializer_cutoff_factor": 2.0,
    "pad_token_id": 0,
    "cls_token_id": CLS_ID,
    "sep_token_id": SEP_ID,
    "bos_token_id": CLS_ID,
    "eos_token_id": SEP_ID,
}

TEXTS = [
    "",
    " ",
    " \t\n  ",
    "Call me Ishmael.",
    "Some years ago—never mind how long precisely—having little or no money in my purse.",
    "It's 3.14159, isn't it? e-mail: someone@example.org (tel. +49 30 1234567)",
    "na\u00efve caf\u00e9 cre\u0300me bru\u0302le\u0301e \u00c5ngstr\u00f6m",
    "thumbs up \U0001f44d\U0001f3fd, family \U0001f468\u200d\U0001f469\u200d\U0001f467, flag \U0001f1ee\U0001f1f8!",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f \uc548\ub155\ud558\uc138\uc694",
    "first line\nsecond line\r\n\r\n\tindented, with  two   and three spaces ",
    "The whale is [MASK] than the ship, and [CLS] is not a word; nor is [mask].",
    "\u0645\u0631\u062d\u0628\u0627 \u0395\u03bb\u03bb\u03ac\u03b4\u03b1 \ufb01n \u2460 \u00bd x\u00b2 \u0000 \u007f \ufeff",
]
PAIRS = [
    ("What did Ahab hunt?", "Moby Dick, the white whale."),
    ("", "an empty first text"),
    ("caf\u00e9 \U0001f600", "two\nlines [SEP] and a separator"),
]


def input_ids(spec):
    """Returns the token ids of a spec, by the formula in the README."""
    span = spec["vocab"] - spec["first"]
    start = spec["seed"] * 104729
    ids = [spec["first"] + ((i + 1) * 7919 + start + (i * i) // 3) % span for i in range(spec["len"])]
    ids[0] = spec["cls"]
    if len(ids) > 1:
        ids[-1] = spec["sep"]
    return ids


def sharpen(model, hidden):
    """Scales attention and MLP weights up and gives every norm and bias values of its own."""
    with torch.no_grad():
        for layer in model.base_model.layers:
            layer.attn.Wqkv.weight[: 2 * hidden] *= 2.5
            layer.attn.Wo.weight *= 4
            layer.mlp.Wo.weight *= 4
            layer.mlp.Wi.weight *= 3
        if hasattr(model, "head"):
            model.head.dense.weight *= 8
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.1 * torch.randn(parameter.shape))
            elif name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape))


def save(tensors, path):
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def store(model, directory, dtype, shards):
    """Writes the model's parameters, rounded to `dtype`, without a tied decoder."""
    tensors = {n: p.detach().to(dtype).clone() for n, p in model.named_parameters()}
    if shards == 1:
        save(tensors, directory / "model.safetensors")
        return
    names = sorted(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {n: tensors[n] for n in names[i::shards]}
        save(part, directory / file)
        weight_map |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def merged_config(case):
    """Merges config.json and training_config.json of a case."""
    config = {**COMMON, **copy.deepcopy(case["config"])}
    return with_training_config(config, case.get("training_config"))


def write_model(case, directory):
    """Writes config and weights; returns the `transformers` model loaded back from them."""
    config = {**COMMON, **case["config"]}
    head = getattr(transformers, config["architectures"][0])
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("model*"):
        old.unlink()
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if training := case.get("training_config"):
        (directory / "training_config.json").write_text(json.dumps(training, indent=2) + "\n")
    torch.manual_seed(case["seed"])
    model = head(transformers.ModernBertConfig.from_dict(copy.deepcopy(config)))
    sharpen(model, config["hidden_size"])
    store(model, directory, DTYPES[case["store"]], case.get("shards", 1))
    model, report = head.from_pretrained(
        directory,
        config=transformers.ModernBertConfig.from_dict(merged_config(case)),
        dtype=torch.float32,
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    if any(report.values()):
        raise SystemExit(f"{directory.name}: the weights do not fit the model: {report}")
    return model.eval()


def numbers(tensor):
    """Converts to nested lists of floats with 9 significant digits, which restore any f32."""
    if tensor.dim() == 0:
        return float(f"{tensor.item():.9g}")
    return [numbers(t) for t in tensor]


def normalized(row):
    return torch.nn.functional.normalize(row, dim=-1)


def probabilities(config, logits):
    """Returns the scores that the text-classification pipeline computes from logits."""
    if config.get("problem_type") == "multi_label_classification" or logits.shape[-1] == 1:
        return torch.sigmoid(logits)
    return torch.softmax(logits, dim=-1)


@torch.no_grad()
def outputs(model, ids):
    """Returns final hidden states (length, hidden) and logits of one pass through the model's own head."""
    seen = []
    hook = model.base_model.register_forward_hook(lambda _m, _i, out: seen.append(out.last_hidden_state[0]))
    out = model(input_ids=torch.tensor([ids], device=model.device))
    hook.remove()
    return seen[0], out.logits[0] if "logits" in out else None


def summary(config, hidden, logits, rows):
    """Returns the outputs for one input as expected.json stores them."""
    length = len(hidden)
    rows = sorted({r for r in [*rows, length // 2, length - 1] if r < length})

    def sampled(tensor):
        return {"positions": rows, "values": numbers(tensor[rows])}

    out = {
        "hidden_rows": sampled(hidden),
        "embedding_mean": numbers(normalized(hidden.mean(dim=0))),
        "embedding_cls": numbers(normalized(hidden[0])),
    }
    if logits is None:
        return out
    if logits.dim() == 1:
        return out | {"logits": numbers(logits), "probabilities": numbers(probabilities(config, logits))}
    out["logits_rows"] = sampled(logits)
    if "MaskedLM" not in config["architectures"][0]:
        out["probabilities_rows"] = sampled(probabilities(config, logits))
    return out


def distance(a, b):
    return float((a.double() - b.double()).abs().max())


def print_exactness(name, config, model, ids, hidden, logits):
    reference = Reference(config, dict(model.named_parameters()))
    exact = reference.hidden(ids)
    row = [f"hidden {distance(hidden, exact):.1e}"]
    pairs = [(hidden.mean(dim=0), exact.mean(dim=0)), (hidden[0], exact[0])]
    pooled = [distance(normalized(a), normalized(b)) for a, b in pairs]
    row.append(f"embeddings {max(pooled):.1e}")
    if logits is not None:
        right = reference.logits(exact)
        row.append(f"logits {distance(logits, right):.1e}")
        if "MaskedLM" not in config["architectures"][0]:
            p = distance(probabilities(config, logits), probabilities(config, right))
            row.append(f"probabilities {p:.1e}")
    print(f"{name} {len(ids)}: float32 from float64: {', '.join(row)}", flush=True)


def write_case(name, case, exact):
    directory = GOLDENS / name
    model = write_model(case, directory)
    config = merged_config(case)
    lines = []
    for n, length in enumerate(case["lengths"]):
        spec = {"kind": "formula", "seed": case["seed"] + n, "len": length, "first": FIRST_ID}
        spec |= {"vocab": config["vocab_size"], "cls": CLS_ID, "sep": SEP_ID}
        ids = input_ids(spec)
        hidden, logits = outputs(model, ids)
        lines.append(json.dumps({"ids": spec, **summary(config, hidden, logits, case["rows"])}))
        if exact:
            print_exactness(name, config, model, ids, hidden, logits)
    header = f'{{"transformers": "{transformers.__version__}", "torch": "{torch.__version__}", "inputs": [\n'
    (directory / "expected.json").write_text(header + ",\n".join(lines) + "\n]}\n")
    size = sum(f.stat().st_size for f in directory.iterdir())
    print(f"{name}: {size / 1e3:.0f} kB", flush=True)


def write_text():
    tokenizer = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    texts = [*TEXTS, PROSE.read_text(encoding="utf-8")[:3000]]
    singles, pairs = [], []
    for text in texts:
        e = tokenizer.encode(text)
        singles.append({"text": text, "ids": e.ids, "offsets": e.offsets})
    for a, b in PAIRS:
        e = tokenizer.encode(a, b)
        pairs.append({"a": a, "b": b, "ids": e.ids, "offsets": e.offsets})
    body = [f'"tokenizers": "{tokenizers.__version__}"']
    for key, rows in [("texts", singles), ("pairs", pairs)]:
        body.append(f'"{key}": [\n' + ",\n".join(json.dumps(r) for r in rows) + "\n]")
    (GOLDENS / "text.json").write_text("{" + ", ".join(body) + "}\n")
    print(f"text.json: {len(singles)} texts, {len(pairs)} pairs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", choices=CASES, help="write these cases only")
    parser.add_argument("--exact", action="store_true", help="compare with float64 (slow at long lengths)")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for name in args.only or CASES:
        write_case(name, CASES[name], args.exact)
    if not args.only:
        write_text()


if __name__ == "__main__":
    main()
