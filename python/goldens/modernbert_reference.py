"""A second, independent ModernBERT forward pass, in any float type, with switchable faults.

It is written from the model's description, not from `transformers`, and computes in float64 with float64
angles by default: its distance from the goldens is the effect of float32 rounding. Each fault in `FAULTS` is
one that a real server had: its distance is how far the goldens' tolerances lie from a wrong answer. It takes
a parsed `config.json` in the legacy or the new layout, already merged with `training_config.json`, and a dict
of float tensors. It is not fast; queries go in tiles, so that a long sequence fits in memory.
"""

import json
import math

import torch
import torch.nn.functional as F

FAULTS = {
    "tanh-gelu": "the layers' GELU by the tanh approximation",
    "tanh-gelu-head": "the head's GELU by the tanh approximation",
    "window-63": "local layers reach 1 less than half the window",
    "window-65": "local layers reach 1 more than half the window",
    "no-window": "local layers attend to everything",
    "no-yarn": "RoPE scaling ignored",
    "no-attention-factor": "YaRN's frequencies without its factor on cos and sin",
    "swapped-thetas": "global and local RoPE parameters exchanged",
    "scale-twice": "softmax scale applied to q.k twice",
    "bf16-positions": "positions held in bfloat16",
    "no-rope": "no rotation at all",
    "swapped-gate": "the activation on the gated MLP's other half",
    "gelu-always": "GELU whatever hidden_activation and classifier_activation say",
    "sliding-window-ignored": "local_attention although sliding_window is given",
    "extra-norm": "layer 0 given an attn_norm",
    "wrong-pooling": "cls where the model says mean, and the reverse",
}
QUERY_TILE = 1024


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def tanh_gelu(x):
    return x * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# The formulas behind ACT2FN's names, without those that have trained parameters.
ACTIVATIONS = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_10": lambda x: gelu(x).clip(-10, 10),
    "gelu_new": tanh_gelu,
    "gelu_fast": tanh_gelu,
    "gelu_accurate": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "gelu_python_tanh": tanh_gelu,
    "quick_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "swish": lambda x: x / (1 + torch.exp(-x)),
    "mish": lambda x: x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x))),
    "hardswish": lambda x: x * (x + 3).clip(0, 6) / 6,
    "relu": lambda x: x.clip(min=0),
    "relu2": lambda x: x.clip(min=0) ** 2,
    "relu6": lambda x: x.clip(0, 6),
    "leaky_relu": lambda x: torch.where(x < 0, x / 100, x),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": torch.tanh,
    "laplace": lambda x: 0.5 * (1 + torch.erf((x - 0.707107) / (0.282095 * math.sqrt(2)))),
    "sqrtsoftplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)).sqrt(),
    "linear": lambda x: x,
}


def with_training_config(config, training):
    """Returns the config with the RoPE keys of `training_config.json` in the places of config.json."""
    if not training or not training.get("rope_scaling_type"):
        return config
    original = training["rope_original_max_position_embeddings"]
    scaling = {
        "rope_type": training["rope_scaling_type"],
        "factor": training["model_max_length"] / original,
        "original_max_position_embeddings": original,
    }
    return {**config, "rope_scaling": scaling}


def read_config(directory):
    """Reads config.json of a model directory and merges `training_config.json` into it."""
    config = json.loads((directory / "config.json").read_text())
    side = directory / "training_config.json"
    return with_training_config(config, json.loads(side.read_text()) if side.is_file() else None)


def rope_parameters(config):
    """Returns RoPE parameters by layer type, from the legacy or the new layout."""
    given = config.get("rope_parameters") or {}
    merged = {}
    for kind, legacy, theta in [
        ("full_attention", "global_rope_theta", 160000.0),
        ("sliding_attention", "local_rope_theta", 10000.0),
    ]:
        merged[kind] = {"rope_type": "default"} | given.get(kind, {}) | (config.get("rope_scaling") or {})
        merged[kind].setdefault("rope_theta", config.get(legacy, theta))
    return merged


def layer_types(config):
    if config.get("layer_types"):
        return config["layer_types"]
    every = config.get("global_attn_every_n_layers", 3)
    return ["sliding_attention" if i % every else "full_attention" for i in range(config["num_hidden_layers"])]


def frequencies(parameters, max_positions, dim, faults):
    """Returns inverse frequencies (dim / 2, f64) and the factor on cos and sin."""
    theta = parameters["rope_theta"]
    k = torch.arange(0, dim, 2, dtype=torch.float64)
    plain = theta ** (-k / dim)
    kind = parameters["rope_type"]
    if kind == "default" or "no-yarn" in faults:
        return plain, 1.0
    if kind != "yarn":
        raise ValueError(f"rope_type {kind} is unknown; this reference knows default and yarn")
    factor = parameters["factor"]
    original = parameters.get("original_max_position_embeddings") or max_positions

    def dimension(rotations):
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(dimension(parameters.get("beta_fast") or 32)), 0)
    high = min(math.ceil(dimension(parameters.get("beta_slow") or 1)), dim - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(dim // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
    scaling = parameters.get("attention_factor")
    if scaling is None:
        scaling = 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
    if "no-attention-factor" in faults:
        scaling = 1.0
    return plain * (1 - ramp) + plain / factor * ramp, scaling


class Reference:
    def __init__(self, config, tensors, dtype=torch.float64, faults=()):
        self.config = config
        self.dtype = dtype
        self.faults = set(faults)
        self.tensors = {name.removeprefix("model."): t.to(dtype) for name, t in tensors.items()}
        self.heads = config["num_attention_heads"]
        self.dim = config["hidden_size"] // self.heads
        self.types = layer_types(config)
        self.rope = rope_parameters(config)
        if "swapped-thetas" in self.faults:
            full, sliding = self.rope["full_attention"], self.rope["sliding_attention"]
            self.rope = {"full_attention": sliding, "sliding_attention": full}

    def linear(self, name, x):
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def norm(self, name, x):
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        return F.layer_norm(x, (x.shape[-1],), weight, bias, self.config.get("norm_eps", 1e-5))

    def activation(self, key, x):
        """Applies the function that the config names under `key`."""
        name = "gelu" if "gelu-always" in self.faults else self.config.get(key, "gelu")
        fault = {"hidden_activation": "tanh-gelu", "classifier_activation": "tanh-gelu-head"}[key]
        if fault in self.faults and name == "gelu":
            name = "gelu_new"
        return ACTIVATIONS[name](x)

    def tables(self, kind, length):
        """Returns cos and sin (length, dim)."""
        inverse, scaling = frequencies(
            self.rope[kind], self.config.get("max_position_embeddings", 8192), self.dim, self.faults
        )
        positions = torch.arange(length, dtype=torch.float64)
        if "bf16-positions" in self.faults:
            positions = positions.to(torch.bfloat16).double()
        angles = positions[:, None] * inverse[None]
        if "no-rope" in self.faults:
            angles = torch.zeros_like(angles)
        angles = torch.cat([angles, angles], dim=-1)
        return (angles.cos() * scaling).to(self.dtype), (angles.sin() * scaling).to(self.dtype)

    def attention(self, q, k, v, reach):
        """Computes softmax attention (heads, length, dim) over keys within `reach` of the query, or all if None."""
        scale = self.dim ** (-1.0 if "scale-twice" in self.faults else -0.5)
        length, out = q.shape[1], torch.empty_like(q)
        for start in range(0, length, QUERY_TILE):
            stop = min(start + QUERY_TILE, length)
            first, last = (0, length) if reach is None else (max(start - reach, 0), min(stop + reach, length))
            scores = q[:, start:stop] @ k[:, first:last].transpose(1, 2) * scale
            if reach is not None:
                distance = torch.arange(start, stop)[:, None] - torch.arange(first, last)[None]
                scores.masked_fill_(distance.abs() > reach, -math.inf)
            out[:, start:stop] = torch.softmax(scores, dim=-1) @ v[:, first:last]
        return out

    def reach(self, kind):
        if kind == "full_attention" or "no-window" in self.faults:
            return None
        half = self.config.get("local_attention", 128) // 2
        if "sliding-window-ignored" not in self.faults:
            half = self.config.get("sliding_window", half)
        return half - ("window-63" in self.faults) + ("window-65" in self.faults)

    def layer(self, i, x, tables):
        name, kind = f"layers.{i}", self.types[i]
        y = x if i == 0 else self.norm(f"{name}.attn_norm", x)
        if i == 0 and "extra-norm" in self.faults:
            y = F.layer_norm(x, (x.shape[-1],))
        qkv = self.linear(f"{name}.attn.Wqkv", y).view(-1, 3, self.heads, self.dim).permute(1, 2, 0, 3)
        cos, sin = tables[kind]

        def rotate(t):
            a, b = t.chunk(2, dim=-1)
            return t * cos + torch.cat([-b, a], dim=-1) * sin

        mixed = self.attention(rotate(qkv[0]), rotate(qkv[1]), qkv[2], self.reach(kind))
        x = x + self.linear(f"{name}.attn.Wo", mixed.transpose(0, 1).reshape(x.shape))
        a, b = self.linear(f"{name}.mlp.Wi", self.norm(f"{name}.mlp_norm", x)).chunk(2, dim=-1)
        if "swapped-gate" in self.faults:
            a, b = b, a
        gated = self.activation("hidden_activation", a) * b
        return x + self.linear(f"{name}.mlp.Wo", gated)

    @torch.no_grad()
    def hidden(self, ids):
        """Returns final hidden states (length, hidden)."""
        x = self.norm("embeddings.norm", self.tensors["embeddings.tok_embeddings.weight"][ids])
        tables = {kind: self.tables(kind, len(ids)) for kind in set(self.types)}
        for i in range(len(self.types)):
            x = self.layer(i, x, tables)
        return self.norm("final_norm", x)

    @torch.no_grad()
    def logits(self, hidden):
        """Applies the head named in `architectures`; returns None for the base model."""
        head = self.config["architectures"][0].removeprefix("ModernBert")
        if head == "Model":
            return None
        if head == "ForSequenceClassification":
            mean = self.config.get("classifier_pooling", "cls") == "mean"
            mean ^= "wrong-pooling" in self.faults
            hidden = hidden.mean(dim=0) if mean else hidden[0]
        x = self.norm("head.norm", self.activation("classifier_activation", self.linear("head.dense", hidden)))
        if head != "ForMaskedLM":
            return self.linear("classifier", x)
        weight = self.tensors.get("decoder.weight", self.tensors["embeddings.tok_embeddings.weight"])
        return F.linear(x, weight, self.tensors.get("decoder.bias"))
