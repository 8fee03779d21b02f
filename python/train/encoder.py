"""The encoder that all trained models share: its shape, its fast training and its export.

It has four ModernBERT layers of width 128. Every other one sees the whole text, among them the last, so that a
classifier which reads [CLS] sees everything. Positions are final from the first step (YaRN, factor 4 over
8192), so nothing is extended afterwards.
"""

import contextlib
import json
import math
import pathlib
import shutil
import time

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import AttentionInterface, ModernBertConfig

from tokenizer import VOCAB_SIZE

DROPOUT = 0.1
PRINT_EVERY = 100
ROPE = {
    "full_attention": {
        "rope_type": "yarn",
        "rope_theta": 160000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 8192,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
    },
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}


WIDTH = 128
LAYERS = 4


def config(vocab_size=VOCAB_SIZE, width=WIDTH, layers=LAYERS, **more):
    return ModernBertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=width * 3 // 2,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        layer_types=["sliding_attention", "full_attention"] * (layers // 2),
        local_attention=128,
        max_position_embeddings=32768,
        rope_parameters=json.loads(json.dumps(ROPE)),
        initializer_range=0.03,
        classifier_pooling="cls",
        pad_token_id=0,
        cls_token_id=2,
        bos_token_id=2,
        sep_token_id=3,
        eos_token_id=3,
        embedding_dropout=DROPOUT,
        mlp_dropout=DROPOUT,
        classifier_dropout=DROPOUT,
        **more,
    )


def windowed(query, key, value, window, valid, scaling):
    """Computes attention within `window` tokens by blocks of that size: linear in the length."""
    batch, heads, n, dim = query.shape
    blocks = -(-n // window)
    tail = blocks * window - n
    if valid is None:
        valid = torch.ones(batch, n, dtype=torch.bool, device=query.device)
    valid = F.pad(valid, (window, window + tail)).unfold(1, 3 * window, window)
    around = lambda x: F.pad(x, (0, 0, window, window + tail)).unfold(2, 3 * window, window)
    split = lambda x: x.permute(0, 2, 1, 4, 3).reshape(batch * blocks, heads, 3 * window, dim)
    query = F.pad(query, (0, 0, 0, tail)).view(batch, heads, blocks, window, dim)
    query = query.transpose(1, 2).reshape(batch * blocks, heads, window, dim)
    distance = torch.arange(3 * window, device=query.device) - window - torch.arange(window, device=query.device)[:, None]
    mask = ((distance.abs() <= window) & valid[:, :, None, :]) | (distance == 0)
    mask = mask.view(batch * blocks, 1, window, 3 * window)
    out = F.scaled_dot_product_attention(query, split(around(key)), split(around(value)), mask, scale=scaling)
    out = out.view(batch, blocks, heads, window, dim).transpose(1, 2).reshape(batch, heads, blocks * window, dim)
    return out[:, :, :n]


def banded(query, window, valid):
    """Returns the mask of attention within `window` tokens, for texts so short that blocks would be mostly padding."""
    n = query.shape[2]
    mask = None if valid is None else valid[:, None, None, :]
    if n <= window + 1:
        return mask
    place = torch.arange(n, device=query.device)
    near = (place[:, None] - place).abs() <= window
    return near if mask is None else near & mask | torch.eye(n, dtype=torch.bool, device=query.device)


def training_attention(module, query, key, value, attention_mask, scaling=None, **_):
    """Attention function for `transformers` during training; `attention_mask` marks the real tokens, or is None."""
    if module.sliding_window is None:
        mask = None if attention_mask is None else attention_mask[:, None, None, :]
        out = F.scaled_dot_product_attention(query, key, value, mask, scale=scaling)
    elif query.shape[2] <= 3 * module.sliding_window:
        out = F.scaled_dot_product_attention(query, key, value, banded(query, module.sliding_window - 1, attention_mask), scale=scaling)
    else:
        out = windowed(query, key, value, module.sliding_window - 1, attention_mask, scaling)
    return out.transpose(1, 2), None


AttentionInterface.register("training", training_attention)


def build(cls, device, pretrained=None, seed=0, **more):
    """Makes a model for training. `pretrained`, a state dict, gives the weights of the encoder, and of the head if it
    has those."""
    torch.manual_seed(seed)
    if pretrained is not None:
        more["vocab_size"], more["width"] = pretrained["model.embeddings.tok_embeddings.weight"].shape
        more["layers"] = len({k.split(".")[2] for k in pretrained if k.startswith("model.layers.")})
    model = cls._from_config(config(**more), attn_implementation="training")
    if pretrained is not None:
        fits = {k: v for k, v in pretrained.items() if k in model.state_dict() and v.shape == model.state_dict()[k].shape}
        missing = model.load_state_dict(fits, strict=False).missing_keys
        assert not any(k.startswith("model.") for k in missing), missing
    return model.to(device).train()


def hidden(model, ids, valid):
    mask = {"full_attention": valid, "sliding_attention": valid}
    return model.model(input_ids=ids, attention_mask=mask).last_hidden_state


def autocast(device):
    return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else contextlib.nullcontext()


class Optimiser:
    """AdamW with warm-up, a cosine schedule to zero, and an average of the weights over time.

    Progress is counted in steps; a run that would pass `limit_s` shortens its schedule instead of being
    cut. `report` records that, because the result then depends on the machine's speed.
    """

    def __init__(self, model, steps, peak, limit_s, decay=0.05, ema=0.998):
        self.model, self.steps, self.peak, self.limit_s, self.ema = model, steps, peak, limit_s, ema
        params = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in params if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
        ]
        fused = params[0].is_cuda
        self.adamw = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), eps=1e-6, fused=fused)
        self.params = params
        self.shadow = [p.detach().clone() for p in params]
        self.step_number, self.skipped, self.begin, self.shortened, self.total = 0, 0, time.monotonic(), False, 0.0

    def progress(self):
        by_time = (time.monotonic() - self.begin) / self.limit_s
        by_steps = self.step_number / self.steps if self.steps else 1.0
        self.shortened |= by_time > by_steps and by_time >= 1.0
        return max(by_steps, by_time) if by_time > 0.5 else by_steps

    def done(self):
        return self.progress() >= 1.0

    def step(self, loss):
        progress = self.progress()
        rate = self.peak * min(1.0, (self.step_number + 1) / 100, max(0.02, 0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0))))
        for group in self.adamw.param_groups:
            group["lr"] = rate
        loss.backward()
        # One gradient that is no number would make every weight none, for the rest of the run.
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(self.params, 1.0)):
            self.adamw.step()
            self.total += loss.detach()
        else:
            self.skipped += 1
        self.adamw.zero_grad(set_to_none=True)
        self.step_number += 1
        if self.step_number % PRINT_EVERY == 0:
            print(f"step {self.step_number} loss {float(self.total) / PRINT_EVERY:.3f} {self.report()['train_s']} s", flush=True)
            self.total = 0.0
        keep = min(self.ema, (1 + self.step_number) / (10 + self.step_number))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.params], 1 - keep)

    @contextlib.contextmanager
    def averaged(self):
        """Context in which the model has the averaged weights and is in evaluation mode."""
        saved = [p.detach().clone() for p in self.params]
        with torch.no_grad():
            torch._foreach_copy_(self.params, self.shadow)
            self.model.eval()
            yield
            torch._foreach_copy_(self.params, saved)
            self.model.train()

    def report(self):
        return {
            "steps": self.step_number,
            "planned_steps": self.steps,
            "skipped_steps": self.skipped,
            "shortened_by_time": self.shortened,
            "train_s": round(time.monotonic() - self.begin, 1),
            "parameters": sum(p.numel() for p in self.params),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }


class Checkpoints:
    """Keeps the averaged weights that scored best on validation data, of a few evaluations."""

    def __init__(self, opt, steps, score, looks=6):
        self.opt, self.score, self.looks = opt, score, looks
        self.history, self.best, self.best_look, self.next = [], None, None, 2

    def consider(self):
        """Evaluates after 2/6, 3/6, ... of the steps."""
        progress = self.opt.progress()
        if progress < self.next / self.looks and not self.opt.done():
            return
        self.next = int(progress * self.looks + 1e-6) + 1
        with self.opt.averaged():
            score = float(self.score())
        self.history.append({"step": self.opt.step_number, "score": score})
        print(f"step {self.opt.step_number}: validation {score:.4f} {self.opt.report()['train_s']} s", flush=True)
        if self.best is None or score >= self.best[0]:
            self.best, self.best_look = (score, [p.clone() for p in self.opt.shadow]), len(self.history) - 1

    def restore(self):
        """Gives the model the best weights; those it has, if it was not trained."""
        if not self.history:
            self.consider()
        with torch.no_grad():
            torch._foreach_copy_(self.opt.params, self.best[1])
        self.opt.model.eval()


def export(model, tokenizer, out, id2label=None):
    """Writes a Hugging Face directory of f16 weights with the tokenizer of a directory, for transformers and bigbatch.
    bf16 can represent all weights, so a GPU that computes in bf16 has the same."""
    out = pathlib.Path(out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tied = {"decoder.weight"} if model.config.tie_word_embeddings else set()
    tensors = {k: v.detach().cpu().bfloat16().to(torch.float16).contiguous() for k, v in model.state_dict().items() if k not in tied}
    assert all(torch.isfinite(t).all() for t in tensors.values()), "a weight does not fit in f16"
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    saved = model.config.to_dict()
    for key in ("embedding_dropout", "mlp_dropout", "classifier_dropout", "attention_dropout"):
        saved[key] = 0.0
    for key in ("transformers_version", "_attn_implementation", "_name_or_path"):
        saved.pop(key, None)
    saved |= {"architectures": [type(model).__name__], "dtype": "float16"}
    if id2label:
        saved |= {"id2label": {str(i): l for i, l in enumerate(id2label)}, "label2id": {l: i for i, l in enumerate(id2label)}}
    else:
        saved.pop("id2label", None)
        saved.pop("label2id", None)
    (out / "config.json").write_text(json.dumps({k: v for k, v in saved.items() if v is not None}, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pathlib.Path(tokenizer) / name, out / name)


def plain(model):
    """Returns the model as it was trained, in f32, with the attention of transformers."""
    model.set_attn_implementation("sdpa")
    return model.float().eval()


def reopen(cls, out, device):
    """Opens the exported directory with transformers, in f32."""
    model = cls.from_pretrained(out, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(device).eval()
