"""Times the kernels beside torch's best, on one GPU.

    python3 python/kernels/timing.py [--arch sm_90a] [--variant "NAME=VALUE ..."] [--only memory,attention,mixed]

Every figure is the median of CUDA-event times over captured graphs (10 launches each), with its spread (10th to
90th percentile) and its ceiling: bytes moved over this card's own copy rate, or FLOPs. `--variant` (repeated) times
attention again with other macros.
"""

import argparse

import torch
import torch.nn.functional as F

from geometry import Kernels, default_arch

HEADS, HIDDEN, WIDTH = 12, 768, 1152


def measure(function, repeats=20, inner=10):
    """Returns (median, p10, p90) of one call in milliseconds."""
    torch.cuda.synchronize()  # the inputs were made on another stream
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        function()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(inner):
            function()
    times = []
    for i in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times += [start.elapsed_time(end) / inner] * (i >= 3)
    times.sort()
    return times[len(times) // 2], times[len(times) // 10], times[-1 - len(times) // 10]


def line(name, shape, ms, work="", ratio=""):
    print(f"{name:34} {shape:22} {ms[0]:8.4f} ms [{ms[1]:.4f}, {ms[2]:.4f}] {work:22} {ratio}", flush=True)


def memory_bound(k):
    tokens = 65536
    big = torch.randn(256 << 20, device="cuda")
    target = torch.empty_like(big)
    ms = measure(lambda: torch.neg(big, out=target))
    rate = 8 * big.numel() / ms[0] / 1e6
    line("read and write (torch.neg)", "1 GiB", ms, f"{rate:.0f} GB/s")

    def show(name, shape, moved, function, peer=None):
        ms = measure(function)
        ceiling = moved / rate / 1e6
        ratio = f"{ceiling / ms[0]:.2f} of copy"
        if peer:
            ratio += f", torch compiled {measure(peer)[0] / ms[0]:.2f}x slower"
        line(name, shape, ms, f"{moved / ms[0] / 1e6:.0f} GB/s", ratio)

    x = torch.randn(tokens, HIDDEN, device="cuda").to(k.dtype)
    weight, out = torch.randn(HIDDEN, device="cuda"), torch.empty_like(x)
    half_weight = weight.to(k.dtype)
    norm = torch.compile(lambda: F.layer_norm(x, (HIDDEN,), half_weight))
    show("layer_norm", f"{tokens} x {HIDDEN}", 4 * x.numel(), lambda: k.layer_norm(x, weight, None, 1e-5, out=out), norm)
    table = torch.randn(50368, HIDDEN, device="cuda").to(k.dtype)
    ids = torch.randint(0, 50368, (tokens,), device="cuda", dtype=torch.int32)
    show("embed_norm", f"{tokens} x {HIDDEN}", 4 * x.numel(), lambda: k.embed_norm(ids, table, weight, None, 1e-5, out=out))
    qkv = torch.randn(tokens, 3 * HIDDEN, device="cuda").to(k.dtype)
    angles = torch.rand(8192, 32, 2, device="cuda")
    positions = torch.arange(8192, device="cuda", dtype=torch.int32).repeat(tokens // 8192)
    show("rope", f"{tokens} x {3 * HIDDEN}", 8 * x.numel(), lambda: k.rope(qkv, angles, positions, HEADS))
    gated = torch.randn(tokens, 2 * WIDTH, device="cuda").to(k.dtype)
    out2 = torch.empty(tokens, WIDTH, device="cuda", dtype=k.dtype)
    glu = torch.compile(lambda: F.gelu(gated[:, :WIDTH]) * gated[:, WIDTH:])
    show("gated_activation", f"{tokens} x {2 * WIDTH}", 6 * out2.numel(), lambda: k.gated(gated, out=out2), glu)
    for lens in ([1024] * 64, [32768], [512] * 128):
        cu = torch.tensor([0] + lens, device="cuda").cumsum(0).to(torch.int32)
        segments = torch.arange(len(lens), device="cuda", dtype=torch.int32)
        pooled = torch.empty(len(lens), HIDDEN, device="cuda")
        show("pool mean", f"{len(lens)} x {lens[0]}", 2 * HIDDEN * sum(lens), lambda: k.pool(x, cu, segments, out=pooled))
    for count, labels, kind in ((65536, 9, k.dtype), (512, 768, torch.float32), (100, 2, torch.float32)):
        a, w = x[:count].to(kind), torch.randn(labels, HIDDEN, device="cuda").to(k.dtype)
        logits = torch.empty(count, labels, device="cuda")
        show("linear_rows", f"{count} x {labels}", a.numel() * a.element_size(), lambda: k.linear_rows(a, w, None, out=logits))


def peers(qkv, batch, length, window):
    """Returns (name, function) of torch's attentions on the same packed values; copies to contiguous are not timed."""
    q, key, value = (t.contiguous() for t in qkv.view(-1, 3, HEADS, 64).unbind(1))
    cu = torch.arange(0, batch * length + 1, length, device="cuda", dtype=torch.int32)
    side = -1 if window is None else window
    flash = lambda: torch.ops.aten._flash_attention_forward(
        q, key, value, cu, cu, length, length, 0.0, False, False, scale=0.125, window_size_left=side, window_size_right=side
    )[0]
    found = [("FA2", flash)]
    if window is None:
        split = [t.view(batch, length, HEADS, 64).transpose(1, 2) for t in (q, key, value)]

        def cudnn():
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.CUDNN_ATTENTION):
                return F.scaled_dot_product_attention(*split)

        found.append(("cuDNN", cudnn))
    return found


def attention(kernels, shapes):
    for batch, length, window in shapes:
        tokens = batch * length
        qkv = torch.randn(tokens, 3 * HIDDEN, device="cuda").to(torch.bfloat16)
        out = torch.empty(tokens, HIDDEN, device="cuda", dtype=torch.bfloat16)
        seen = length if window is None else min(length, 2 * window + 1)
        flops = 4 * tokens * seen * HIDDEN
        shape = f"{batch} x {length}" + (f" w={window}" if window else "")
        inner = 10 if window or length < 32768 else 2
        best, first = {}, None
        for name, function in peers(qkv, batch, length, window):
            ms = measure(function, inner=inner)
            best[name] = ms[0]
            line(name, shape, ms, f"{flops / ms[0] / 1e9:.0f} TFLOP/s")
        for name, k, kind in kernels:
            if window and kind == "wgmma":
                continue
            tiles = k.tiles([length] * batch, kind)
            run = lambda: k.attention(qkv, HEADS, tiles, kind, window, out=out)
            try:
                ms = measure(run, inner=inner)
            except RuntimeError as error:
                print(f"{name}: {error}")
                continue
            first = out.float() if first is None else first
            drift = ((out.float() - first).norm() / first.norm()).item()
            ratio = ", ".join(f"{b / ms[0]:.2f}x {n}" for n, b in best.items())
            line(name, shape, ms, f"{flops / ms[0] / 1e9:.0f} TFLOP/s", f"{ratio}; differs from the first by {drift:.1e}")


def mixed(k):
    """Times one long sequence among many short ones: without idle blocks it takes the sum of its parts."""
    parts = {"1 x 32768": [32768], "128 x 256": [256] * 128, "both": [256] * 64 + [32768] + [256] * 64}
    for kind in k.full_attentions():
        alone = []
        for name, lens in parts.items():
            qkv = torch.randn(sum(lens), 3 * HIDDEN, device="cuda").to(torch.bfloat16)
            out = torch.empty(sum(lens), HIDDEN, device="cuda", dtype=torch.bfloat16)
            tiles = k.tiles(lens, kind)
            ms = measure(lambda: k.attention(qkv, HEADS, tiles, kind, out=out), inner=2)
            note = f"{ms[0] / sum(alone):.3f} of the sum of the parts" if name == "both" else ""
            alone.append(ms[0])
            line(f"{kind}, full", name, ms, f"{4 * sum(n * n for n in lens) * HIDDEN / ms[0] / 1e9:.0f} TFLOP/s", note)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default=default_arch(torch))
    parser.add_argument("--variant", action="append", default=[])
    parser.add_argument("--only", default="memory,attention,mixed")
    parser.add_argument("--shapes", default="8x8192,2x32768,16x4096,64x1024,128x512,8x8192w64,64x1024w64")
    args = parser.parse_args()
    k = Kernels(torch, args.arch)
    if "memory" in args.only:
        memory_bound(k)
    if "attention" in args.only:
        named = [(kind, k, kind) for kind in k.full_attentions()]
        for v in args.variant:
            file, kind = ("attention_sm90.cu", "wgmma") if "ATTN90" in v else ("attention.cu", "mma")
            named.append((v, Kernels(torch, args.arch, variant=v.split(), files=[file]), kind))
        shapes = []
        for text in args.shapes.split(","):
            size, _, window = text.partition("w")
            batch, _, length = size.partition("x")
            shapes.append((int(batch), int(length), int(window) if window else None))
        attention(named, shapes)
    if "mixed" in args.only:
        mixed(k)
    print(f"{torch.cuda.get_device_name()}, {args.arch}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
