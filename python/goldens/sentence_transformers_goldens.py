"""Writes the goldens of sentence-transformers' own files: its vectors and scores for variants of tiny models.

    pip install torch==2.11.0 transformers==5.17.0 tokenizers==0.23.3 sentence-transformers==6.0.1
    python3 python/goldens/sentence_transformers_goldens.py

Writes crates/engine/tests/sentence_transformers_goldens/: the weights of one embedder and of two CrossEncoders with
one and three labels, the weights of two Dense modules, a tokenizer, and expected.json. Each case of expected.json
has the files that it adds to the model's, the texts, and what `encode` or `predict` returned for them, in float32 on
the CPU. The Rust test makes the same checkpoints in memory. Where a module is expected not to matter, the script
asserts that its absence gives other numbers, so that a case cannot pass by a file that nobody reads.
"""

import json
import os
import pathlib
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import sentence_transformers
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "crates" / "engine" / "tests" / "sentence_transformers_goldens"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MERGES = [("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e")]
HIDDEN, OUTPUTS, LAYERS, INTERMEDIATE = 32, 24, 2, 48
FLOAT32 = {"dtype": "float32"}
TEXTS = ["hello world", "The HAVEN lay ÉTÉ, İSTANBUL, ΣΑΣ [MASK] there.", "a text of far more than sixteen byte tokens"]
PAIRS = [["which haven", "The haven lay there."], ["a query of many words", "no"], ["q", "A LONGER document " * 4]]


def byte_level_tokenizer():
    """A byte-level vocabulary with three merges: `the` after a space is one token, a space before nothing another."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in keep]
    chars = {byte: chr(byte) for byte in keep} | {byte: chr(256 + n) for n, byte in enumerate(rest)}
    tokens = SPECIAL + [chars[byte] for byte in range(256)] + ["".join(merge) for merge in MERGES]
    special = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
    text = lambda name: {"Sequence": {"id": name, "type_id": 0}}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [
            {"id": n, "content": token, "single_word": False, "lstrip": token == "[MASK]", "rstrip": False,
             "normalized": False, "special": True} for n, token in enumerate(SPECIAL)],
        "pre_tokenizer": level, "decoder": level,
        "post_processor": {
            "type": "TemplateProcessing", "single": [special("[CLS]"), text("A"), special("[SEP]")],
            "pair": [special("[CLS]"), text("A"), special("[SEP]"), text("B"), special("[SEP]")],
            "special_tokens": {token: {"id": token, "ids": [SPECIAL.index(token)], "tokens": [token]}
                               for token in ("[CLS]", "[SEP]")}},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: n for n, token in enumerate(tokens)}, "merges": [list(merge) for merge in MERGES]}}


TOKENIZER = byte_level_tokenizer()
VOCAB = len(TOKENIZER["model"]["vocab"])


def tokenizer_config(**more):
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names, **more}


def config(architecture, labels=0, **more):
    named = {"id2label": {str(n): f"L{n}" for n in range(labels)}, "label2id": {f"L{n}": n for n in range(labels)}}
    return {
        "model_type": "modernbert", "architectures": [architecture], "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "max_position_embeddings": 128, "local_attention": 16, "global_attn_every_n_layers": 2,
        "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "hidden_activation": "gelu",
        "classifier_activation": "gelu", "classifier_pooling": "mean", "pad_token_id": 0, "bos_token_id": 2,
        "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, **(named if labels else {}), **more}


def weights(body, seed, labels=0):
    """Random weights, large enough that a token, its position or its neighbours matter."""
    torch.manual_seed(seed)
    matrix = lambda rows, columns: torch.randn(rows, columns) * 0.3
    norm = lambda: 1 + torch.randn(HIDDEN) * 0.1
    tensors = {body + "embeddings.tok_embeddings.weight": matrix(VOCAB, HIDDEN),
               body + "embeddings.norm.weight": norm(), body + "final_norm.weight": norm()}
    for n in range(LAYERS):
        at = f"{body}layers.{n}."
        if n:
            tensors[at + "attn_norm.weight"] = norm()
        tensors |= {at + "attn.Wqkv.weight": matrix(3 * HIDDEN, HIDDEN), at + "attn.Wo.weight": matrix(HIDDEN, HIDDEN),
                    at + "mlp_norm.weight": norm(), at + "mlp.Wi.weight": matrix(2 * INTERMEDIATE, HIDDEN),
                    at + "mlp.Wo.weight": matrix(HIDDEN, INTERMEDIATE)}
    if labels:
        tensors |= {"head.dense.weight": matrix(HIDDEN, HIDDEN), "head.norm.weight": norm(),
                    "classifier.weight": matrix(labels, HIDDEN), "classifier.bias": torch.randn(labels)}
    return {name: tensor.half().contiguous() for name, tensor in tensors.items()}


def write_weights():
    save_file(weights("", 1), OUT / "embed.safetensors")
    save_file(weights("model.", 2, 1), OUT / "cross-1.safetensors")
    save_file(weights("model.", 3, 3), OUT / "cross-3.safetensors")
    torch.manual_seed(4)
    linear = {"linear.weight": torch.randn(OUTPUTS, HIDDEN) * 0.4, "linear.bias": torch.randn(OUTPUTS)}
    save_file(linear, OUT / "dense.safetensors")
    save_file(linear | {"residual.weight": torch.randn(OUTPUTS, HIDDEN) * 0.4}, OUT / "dense-residual.safetensors")
    save_file({"linear.weight": torch.randn(HIDDEN, HIDDEN) * 0.4}, OUT / "dense-square.safetensors")


OLD, NEW = "sentence_transformers.models.", "sentence_transformers."
NEW_NAMES = {"Transformer": "base.modules.transformer.Transformer", "Normalize": "base.modules.normalize.Normalize",
             "Pooling": "sentence_transformer.modules.pooling.Pooling", "Dense": "base.modules.dense.Dense",
             "Dropout": "sentence_transformer.modules.dropout.Dropout"}


def modules(*more, new=False, pooling_path="1_Pooling"):
    listed = [("Transformer", ""), ("Pooling", pooling_path), *more]
    name = lambda kind: NEW + NEW_NAMES[kind] if new else OLD + kind
    return [{"idx": n, "name": str(n), "path": path, "type": name(kind)} for n, (kind, path) in enumerate(listed)]


def old_pooling(mode, **more):
    flags = {f"pooling_mode_{name}": False for name in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")}
    return {"word_embedding_dimension": HIDDEN, **flags, f"pooling_mode_{mode}": True, **more}


def dense(activation, **more):
    keys = {"in_features": HIDDEN, "out_features": OUTPUTS, "bias": True}
    return keys | ({"activation_function": activation} if activation else {}) | more


def embed_cases():
    mean = old_pooling("mean_tokens")
    base = {"modules.json": modules(), "1_Pooling/config.json": mean}
    sbert, root = "sentence_bert_config.json", "config_sentence_transformers.json"
    yield "no modules.json", {}, {}
    yield "mean, old keys", base, {}
    yield "cls, old keys", base | {"1_Pooling/config.json": old_pooling("cls_token")}, {}
    new = {"embedding_dimension": HIDDEN, "pooling_mode": "cls", "include_prompt": True}
    yield "cls, new keys, nested path", {"modules.json": modules(new=True, pooling_path="parts/pool"),
                                         "parts/pool/config.json": new}, {}
    asked = {"prompts": {"query": "query: ", "document": None, "long": "a prompt longer than the limit: "}}
    for name, prompt in (("query", "query: "), ("document", None), ("long", asked["prompts"]["long"])):
        files = base | {root: asked | {"default_prompt_name": name}}
        yield f"default prompt {name}", files, {"prompt": prompt}
        out = files | {"1_Pooling/config.json": mean | {"include_prompt": False}, sbert: {"max_seq_length": 20}}
        yield f"default prompt {name}, include_prompt false", out, {"prompt": prompt, "limit": 20}
    for name in ("linear.Identity", *(f"activation.{name}" for name in ("Tanh", "ReLU", "GELU", "Sigmoid", "SiLU"))):
        files = base | {"modules.json": modules(("Dense", "2_Dense"), ("Normalize", "3_Normalize")),
                        "2_Dense/config.json": dense(f"torch.nn.modules.{name}")}
        yield f"Dense {name}, Normalize", files, {"weights": {"2_Dense": "dense"}}
    files = base | {"modules.json": modules(("Normalize", "2_Normalize"), ("Dense", "3_Dense"), new=True),
                    "2_Normalize/config.json": {"module_input_name": "sentence_embedding"},
                    "3_Dense/config.json": dense(None)}
    yield "Normalize, Dense without an activation", files, {"weights": {"3_Dense": "dense"}}
    files = base | {"modules.json": modules(("Dense", "2_Dense")),
                    "2_Dense/config.json": dense("torch.nn.modules.activation.Tanh", use_residual=True)}
    yield "Dense with a projected residual", files, {"weights": {"2_Dense": "dense-residual"}}
    square = dense("torch.nn.modules.activation.SiLU", use_residual=True, bias=False, out_features=HIDDEN)
    yield "Dense with a residual, without bias", files | {"2_Dense/config.json": square}, {
        "weights": {"2_Dense": "dense-square"}}
    yield "Dropout", base | {"modules.json": modules(("Dropout", "2_Dropout")), "2_Dropout/config.json": {"dropout": 0.5}}, {}
    yield "do_lower_case", base | {sbert: {"max_seq_length": 128, "do_lower_case": True}}, {}
    yield "max_seq_length", base | {sbert: {"max_seq_length": 16, "do_lower_case": False}}, {"limit": 16}
    legacy = {"sentence_xlnet_config.json": {"max_seq_length": 18}}
    yield "max_seq_length, an old name", base | legacy, {"limit": 18}
    arguments = {"max_seq_length": 16, "tokenizer_args": {"model_max_length": 19}, "model_args": {"attn_implementation": "sdpa"}}
    yield "model_max_length in tokenizer_args", base | {sbert: arguments}, {"limit": 19}
    yield "model_max_length", base | {"tokenizer_config.json": tokenizer_config(model_max_length=17)}, {"limit": 17}
    cut = base | {"modules.json": modules(("Normalize", "2_Normalize")), root: {"truncate_dim": 8}}
    yield "truncate_dim after Normalize", cut, {}
    yield "truncate_dim above the width", base | {root: {"truncate_dim": 512}}, {}


def cross_cases():
    root, torch_nn = "config_sentence_transformers.json", "torch.nn.modules."
    modality = {"text": {"method": "forward", "method_output_name": "logits"}}
    settings = {"transformer_task": "sequence-classification", "modality_config": modality, "module_output_name": "scores"}
    saved = {"modules.json": modules(new=True)[:1], "sentence_bert_config.json": settings}
    of = lambda **keys: saved | {root: {"model_type": "CrossEncoder", **keys}}
    sequence = "ModernBertForSequenceClassification"
    in_config = lambda labels, **keys: {"config.json": config(sequence, labels, **keys)}
    yield "one label, nothing stated", 1, {}
    for name in ("linear.Identity", "activation.Sigmoid"):
        yield f"one label, {name}", 1, of(activation_fn=torch_nn + name)
        yield f"three labels, {name}", 3, of(activation_fn=torch_nn + name)
        keys = {"sentence_transformers": {"activation_fn": torch_nn + name}}
        yield f"one label, {name} in config.json", 1, in_config(1, **keys)
    yield "three labels, Softmax", 3, of(activation_fn=torch_nn + "activation.Softmax")
    old = {"sbert_ce_default_activation_function": torch_nn + "linear.Identity"}
    yield "one label, the oldest key", 1, in_config(1, **old)
    prompt = {"prompts": {"query": "Judge: "}, "default_prompt_name": "query"}
    yield "one label, default prompt", 1, of(activation_fn=torch_nn + "activation.Sigmoid", **prompt)


def write_checkpoint(folder, base, files, weights, model):
    for name, value in (base | files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    shutil.copy(OUT / f"{model}.safetensors", folder / "model.safetensors")
    for name, stored in weights.items():
        shutil.copy(OUT / f"{stored}.safetensors", folder / name / "model.safetensors")


def digits(values):
    return [[float(f"{x:.9g}") for x in row] for row in values.tolist()]


def run(base, files, weights, model, compute):
    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(pathlib.Path(name), base, files, weights, model)
        return compute(name)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    write_weights()
    beside = {"tokenizer.json": TOKENIZER, "tokenizer_config.json": tokenizer_config()}
    (OUT / "tokenizer.json").write_text(json.dumps(TOKENIZER, ensure_ascii=False) + "\n")
    embed_base = beside | {"config.json": config("ModernBertModel")}
    vectors = lambda path: SentenceTransformer(path, model_kwargs=FLOAT32).encode(TEXTS, batch_size=1)
    embed = []
    for name, files, more in embed_cases():
        values = run(embed_base, files, more.get("weights", {}), "embed", vectors)
        embed.append({"name": name, "files": files, "weights": {}, "limit": 128, "prompt": None} | more
                     | {"vectors": digits(values)})
    plain = {case["name"]: case["vectors"] for case in embed}
    for name, other in (("do_lower_case", "mean, old keys"), ("max_seq_length", "mean, old keys"),
                        ("default prompt query", "mean, old keys"),
                        ("default prompt query, include_prompt false", "default prompt document, include_prompt false")):
        assert plain[name] != plain[other], name
    cross = []
    for name, labels, files in cross_cases():
        base = beside | {"config.json": config("ModernBertForSequenceClassification", labels)}
        scores = lambda path: CrossEncoder(path, model_kwargs=FLOAT32).predict(PAIRS, batch_size=1).reshape(len(PAIRS), -1)
        values = run(base, files, {}, f"cross-{labels}", scores)
        cross.append({"name": name, "labels": labels, "files": files, "scores": digits(values)})
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
                "sentence_transformers": sentence_transformers.__version__}
    expected = {
        "versions": versions, "texts": TEXTS, "pairs": PAIRS, "tokenizer_config": tokenizer_config(),
        "config": {"embed": config("ModernBertModel"),
                   **{f"cross-{n}": config("ModernBertForSequenceClassification", n) for n in (1, 3)}},
        "embed": embed, "cross": cross}
    (OUT / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(embed)} embedding and {len(cross)} CrossEncoder cases")


if __name__ == "__main__":
    main()
