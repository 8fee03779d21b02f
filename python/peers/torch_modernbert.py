"""Times ModernBERT-base forward passes in PyTorch at its best, to compare with `bigbatch bench forward`.

    python3 python/peers/torch_modernbert.py --cells 1x1024,8x8192 [--attention cudnn|flash] [--json FILE]

This is what a torch expert would serve: bf16, sequences packed without padding, everything between the
attentions compiled, full attention by cuDNN (batched: all sequences of a cell have one length) or by
FlashAttention-2's varlen kernel, windowed attention by the latter, and the whole pass recorded as a CUDA
graph. The faster of graph and eager counts. Weights are random, because time does not depend on them. Times
are medians of CUDA events around a pass whose inputs are already on the device.
"""

import argparse
import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

LAYERS, HIDDEN, HEADS, DIM, INTERMEDIATE, VOCAB = 22, 768, 12, 64, 1152, 50368
WINDOW = 64
OPTIONS = {"device": "cuda", "dtype": torch.bfloat16}


class Layer:
    def __init__(self):
        def matrix(rows, columns):
            return torch.randn(rows, columns, **OPTIONS) * 0.02

        self.wqkv = matrix(3 * HIDDEN, HIDDEN)
        self.attn_out = matrix(HIDDEN, HIDDEN)
        self.mlp_in = matrix(2 * INTERMEDIATE, HIDDEN)
        self.mlp_out = matrix(HIDDEN, INTERMEDIATE)
        self.attn_norm = torch.ones(HIDDEN, **OPTIONS)
        self.mlp_norm = torch.ones(HIDDEN, **OPTIONS)


def before_attention(x, norm, wqkv, cos, sin):
    normed = x if norm is None else F.layer_norm(x, (HIDDEN,), norm)
    q, k, v = F.linear(normed, wqkv).view(-1, 3, HEADS, DIM).unbind(1)

    def rotate(t):
        low, high = t.chunk(2, dim=-1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)

    return rotate(q), rotate(k), v.contiguous()


def after_attention(x, mixed, attn_out, norm, mlp_in, mlp_out):
    x = x + F.linear(mixed.reshape(-1, HIDDEN), attn_out)
    value, gate = F.linear(F.layer_norm(x, (HIDDEN,), norm), mlp_in).chunk(2, dim=-1)
    return x + F.linear(F.gelu(value) * gate, mlp_out)


def flash(q, k, v, bounds, length, window):
    return torch.ops.aten._flash_attention_forward(
        q, k, v, bounds, bounds, length, length, 0.0, False, False,
        scale=DIM**-0.5, window_size_left=window, window_size_right=window,
    )[0]


def cudnn(q, k, v, length):
    def batched(t):
        return t.view(-1, length, HEADS, DIM).transpose(1, 2)

    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        mixed = F.scaled_dot_product_attention(batched(q), batched(k), batched(v))
    return mixed.transpose(1, 2).reshape(-1, HEADS, DIM)


class Model:
    def __init__(self, attention):
        self.attention = attention
        self.layers = [Layer() for _ in range(LAYERS)]
        self.embedding = torch.randn(VOCAB, HIDDEN, **OPTIONS) * 0.02
        self.norm = torch.ones(HIDDEN, **OPTIONS)
        self.before = torch.compile(before_attention, dynamic=False)
        self.after = torch.compile(after_attention, dynamic=False)

    def __call__(self, ids, tables, bounds, length):
        x = F.layer_norm(F.embedding(ids, self.embedding), (HIDDEN,), self.norm)
        for index, layer in enumerate(self.layers):
            full = index % 3 == 0
            norm = layer.attn_norm if index else None
            q, k, v = self.before(x, norm, layer.wqkv, *tables)
            if full and self.attention == "cudnn":
                mixed = cudnn(q, k, v, length)
            else:
                mixed = flash(q, k, v, bounds, length, -1 if full else WINDOW)
            x = self.after(x, mixed, layer.attn_out, layer.mlp_norm, layer.mlp_in, layer.mlp_out)
        return F.layer_norm(x, (HIDDEN,), self.norm)


def inputs(sequences, length):
    ids = torch.randint(0, VOCAB, (sequences * length,), device="cuda")
    positions = torch.arange(length, device="cuda").repeat(sequences).float()[:, None]
    frequencies = 160_000.0 ** (-torch.arange(0, DIM, 2, device="cuda").float() / DIM)
    angles = positions * frequencies
    tables = tuple(t.to(torch.bfloat16)[:, None] for t in (angles.cos(), angles.sin()))
    bounds = torch.arange(0, (sequences + 1) * length, length, device="cuda", dtype=torch.int32)
    return ids, tables, bounds, length


def median_ms(run, repeats):
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def graphed(run):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="1x1024,1x8192,64x1024,16x4096,8x8192")
    parser.add_argument("--attention", choices=["cudnn", "flash"], default="cudnn")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.manual_seed(0)
    # One compilation per shape: each cell has its own.
    torch._dynamo.config.recompile_limit = 64
    model = Model(args.attention)
    rows = []
    print(f"torch {torch.__version__}, {args.attention}, {torch.cuda.get_device_name()}")
    for cell in args.cells.split(","):
        sequences, length = map(int, cell.split("x"))
        batch = inputs(sequences, length)

        def run():
            return model(*batch)

        eager = median_ms(run, args.repeats)
        graph = median_ms(graphed(run), args.repeats)
        best = min(eager, graph)
        rate = sequences * length / best * 1e3
        rows.append({"cell": cell, "eager_ms": eager, "graph_ms": graph, "tokens_per_second": rate})
        print(f"{cell:>12} eager {eager:9.3f} ms, graph {graph:9.3f} ms, {rate:11.0f} tokens/s", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()
