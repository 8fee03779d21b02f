"""Launch geometry of each kernel, as the comment at the top of its file states it.

The engine has the same in Rust, below `backend/cuda`. check.py and timing.py launch kernels through this
module.
"""

import os
import re

from nvrtc import KERNELS, Module


def defines(name, overrides=()):
    """Returns the integer #defines of a kernel file, evaluated in order."""
    values = {k: int(v or 1) for k, _, v in (item.partition("=") for item in overrides)}
    with open(os.path.join(KERNELS, name)) as file:
        for line in file:
            found = re.match(r"#define (\w+) ([\w ()*/+-]+)$", line.split("//")[0].strip())
            if found:
                try:
                    values.setdefault(found.group(1), int(eval(found.group(2).replace("/", "//"), {}, values)))
                except (NameError, SyntaxError):  # not an integer: an address or a float
                    pass
    return values


def blocks(count, per_block):
    return (count + per_block - 1) // per_block


def default_arch(torch):
    """Returns the compilation target that enables every feature of the present card."""
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}" + ("a" if major == 9 else "")


class Kernels:
    """Every kernel for one element type, as functions of torch tensors."""

    FILES = ("norm.cu", "rope.cu", "activation.cu", "pool.cu", "linear_rows.cu", "attention.cu", "attention_sm90.cu")

    def __init__(self, torch, arch, f16=False, variant=(), files=FILES):
        files = [f for f in files if "sm90" not in f or arch == "sm_90a"]
        self.processors = torch.cuda.get_device_properties(0).multi_processor_count
        self.torch, self.dtype = torch, torch.float16 if f16 else torch.bfloat16
        flags = (["BIGBATCH_F16"] if f16 else []) + list(variant)
        self.modules = {n: Module(n, arch, flags) for n in files}
        self.size = {}
        for n in files:
            self.size.update(defines(n, variant))

    def empty(self, *shape, dtype=None):
        """Allocates an output of NaN, so that an element which no thread writes shows."""
        return self.torch.full(shape, float("nan"), device="cuda", dtype=dtype or self.dtype)

    def _suffix(self, x):
        """Of the entry that takes rows of this type."""
        return "_f32" if x.dtype == self.torch.float32 else ""

    def _norm(self, kernel, rows, *args):
        self.modules["norm.cu"].launch(kernel, blocks(rows, self.size["NORM_ROWS"]), self.size["NORM_THREADS"], 0, *args)

    def embed_norm(self, ids, embedding, weight, bias, eps, out=None):
        out = self.empty(len(ids), embedding.shape[1]) if out is None else out
        self._norm("embed_norm", len(ids), ids, embedding, weight, bias, out, len(ids), embedding.shape[1], eps)
        return out

    def layer_norm(self, x, weight, bias, eps, out=None):
        out = self.empty(*x.shape, dtype=x.dtype) if out is None else out
        self._norm("layer_norm" + self._suffix(x), len(x), x, weight, bias, out, len(x), x.shape[1], eps)
        return out

    def activate(self, x):
        """In place; GELU, or the function of the variant's ACTIVATION."""
        grid = blocks(len(x), self.size["ACTIVATION_ROWS"])
        threads = self.size["ACTIVATION_THREADS"]
        self.modules["activation.cu"].launch("activation" + self._suffix(x), grid, threads, 0, x, len(x), x.shape[1])
        return x

    def rope(self, qkv, table, positions, heads):
        grid = blocks(len(positions), self.size["ROPE_TOKENS"])
        self.modules["rope.cu"].launch("rope", grid, self.size["ROPE_THREADS"], 0, qkv, table, positions, len(positions), heads)
        return qkv

    def gated(self, x, out=None):
        rows, width = x.shape[0], x.shape[1] // 2
        out = self.empty(rows, width) if out is None else out
        threads = self.size["GATED_THREADS"]
        grid = blocks(rows * width // 8, threads)
        self.modules["activation.cu"].launch("gated_activation", grid, threads, 0, x, out, rows, width, out.stride(0))
        return out

    def pool(self, x, bounds, segments, out=None):
        out = self.empty(len(segments), x.shape[1], dtype=self.torch.float32) if out is None else out
        grid = (x.shape[1] // 64, len(segments))
        self.modules["pool.cu"].launch("pool", grid, self.size["POOL_THREADS"], 0, x, bounds, segments, out, x.shape[1])
        return out

    def gather_rows(self, x, rows, out=None):
        out = self.empty(len(rows), x.shape[1]) if out is None else out
        threads = self.size["GATHER_THREADS"]
        grid = blocks(len(rows) * x.shape[1] // 8, threads)
        self.modules["pool.cu"].launch("gather_rows", grid, threads, 0, x, rows, out, len(rows), x.shape[1])
        return out

    def linear_rows(self, x, w, bias, out=None):
        rows, labels = x.shape[0], w.shape[0]
        out = self.empty(rows, labels, dtype=self.torch.float32) if out is None else out
        grid = (blocks(rows, self.size["LINEAR_ROWS"]), blocks(labels, self.size["LINEAR_LABELS"]))
        args = (x, w, bias, out, rows, labels, x.shape[1])
        self.modules["linear_rows.cu"].launch("linear_rows" + self._suffix(x), grid, self.size["LINEAR_THREADS"], 0, *args)
        return out

    def full_attentions(self):
        """Returns the kernels that compute full attention here: `mma` everywhere, `wgmma` on Hopper."""
        return [n for n, f in (("mma", "attention.cu"), ("wgmma", "attention_sm90.cu")) if f in self.modules]

    def tiles(self, lens, kind="mma", reverse=False):
        """Returns the work list of an attention kernel: one entry per query tile, longest sequence first."""
        step, items, start = self.size["ATTN90_ROWS" if kind == "wgmma" else "ATTN_ROWS"], [], 0
        for length in lens:
            items += [(start, length, first, 0) for first in range(0, length, step)]
            start += length
        items.sort(key=lambda i: -i[1], reverse=reverse)
        return self.torch.tensor(items, dtype=self.torch.int32, device="cuda")

    def attention(self, qkv, heads, tiles, kind="mma", window=None, out=None):
        out = self.empty(qkv.shape[0], heads * 64) if out is None else out
        if kind == "wgmma":
            grid, threads = min(len(tiles) * heads, self.processors), self.size["ATTN90_THREADS"]
            shared = self.size["ATTN90_SHARED_BYTES"]
            module = self.modules["attention_sm90.cu"]
            module.launch("attention_full_sm90", grid, threads, shared, qkv, out, tiles, len(tiles), heads)
            return out
        module, threads, shared = self.modules["attention.cu"], self.size["ATTN_THREADS"], self.size["ATTN_SHARED_BYTES"]
        if window is None:
            module.launch("attention_full", (len(tiles), heads), threads, shared, qkv, out, tiles)
        else:
            module.launch("attention_window", (heads, len(tiles)), threads, shared, qkv, out, tiles, window)
        return out
