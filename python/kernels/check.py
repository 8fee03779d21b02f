"""Checks every kernel against a float64 reference on a GPU.

    python3 python/kernels/check.py [--arch sm_90a] [-D NAME=VALUE] [--tiny] [--only KERNEL]

Outputs are poisoned with NaN first, inputs are fresh random values (also large ones), and invariance is compared
bit for bit: a sequence alone, in a mixed batch, among NaN neighbours, with the work list reversed, and 200 times
over. `--tiny` shrinks everything to what compute-sanitizer gets through in a minute. Exits 1 if any check fails;
the last lines are a table of all kernels.
"""

import argparse
import sys

import torch

from geometry import Kernels, default_arch

REPEATS = 200
LENGTHS = [1, 2, 63, 64, 65, 66, 127, 128, 129, 130, 500, 1000, 4096, 8192, 32768]
MIXED = [1000, 1, 65, 4096, 128, 2, 127, 500, 8192, 63, 129, 66]
rows, failures = [], 0


def report(name, detail, value, limit):
    global failures
    bad = not value <= limit
    failures += bad
    rows.append(f"{'FAIL' if bad else 'ok  '} {name:18} {detail:44} {value:10.3g} (limit {limit:.3g})")


def ulp(reference, dtype):
    bits, smallest = (7, 2.0**-133) if dtype == torch.bfloat16 else (10, 2.0**-24)
    exponent = torch.floor(torch.log2(reference.abs().clamp_min(1e-300)))
    return torch.pow(torch.tensor(2.0, dtype=torch.float64, device="cuda"), exponent - bits).clamp_min(smallest)


def worst(out, reference, allowed):
    """Returns the largest error in units of the tolerance; NaN counts as infinite."""
    return torch.nan_to_num((out.double() - reference).abs() / allowed, nan=float("inf")).max().item()


def randn(*shape, dtype, scale=1.0):
    return (torch.randn(*shape, device="cuda") * scale).to(dtype)


def guarded(x):
    """Copies x between NaNs, so that reading beyond either end shows."""
    pad = 128 * x.shape[1]
    whole = torch.full((x.numel() + 2 * pad,), float("nan"), device="cuda", dtype=x.dtype)
    whole[pad : pad + x.numel()] = x.flatten()
    return whole[pad : pad + x.numel()].view_as(x)


def gelu(x):
    return x * 0.5 * torch.special.erfc(-x / 2**0.5)


def norm_reference(x, weight, bias, eps):
    x = x.double()
    variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
    normed = (x - mean) / torch.sqrt(variance + eps)
    return normed * weight.double() + (bias.double() if bias is not None else 0)


def check_norms(k):
    for hidden in (64, 192, 384, 512, 576, 768, 1024, 1088, 2048):
        for scale, biased in ((1.0, False), (300.0, True)):
            x = guarded(randn(1003, hidden, dtype=k.dtype, scale=scale) + (scale if biased else 0))
            weight = torch.randn(hidden, device="cuda")
            bias = torch.randn(hidden, device="cuda") if biased else None
            reference = norm_reference(x, weight, bias, 1e-5)
            allowed = ulp(reference, k.dtype) + 4e-6 * reference.abs().max()
            detail = f"H={hidden} scale={scale:g} bias={biased}"
            out = k.layer_norm(x, weight, bias, 1e-5)
            report("layer_norm", detail, worst(out, reference, allowed), 1)
            report("layer_norm", "alone, bits differing", (k.layer_norm(x[700:701].clone(), weight, bias, 1e-5) != out[700:701]).sum().item(), 0)
            inplace = x.clone()
            report("layer_norm", "in place, bits differing", (k.layer_norm(inplace, weight, bias, 1e-5, out=inplace) != out).sum().item(), 0)
            ids = torch.randint(0, len(x), (257,), device="cuda", dtype=torch.int32)
            report("embed_norm", detail, worst(k.embed_norm(ids, x, weight, bias, 1e-5), reference[ids.long()], allowed[ids.long()]), 1)
    weight = torch.randn(768, device="cuda")
    for dtype in (k.dtype, torch.float32):
        x = guarded(randn(301, 768, dtype=dtype, scale=3))
        for name, run, reference in (
            ("activation", lambda x: k.activate(guarded(x)), gelu(x.double())),
            ("layer_norm", lambda x: k.layer_norm(x, weight, None, 1e-5), norm_reference(x, weight, None, 1e-5)),
        ):
            # approximate exp2 and reciprocal inside gelu: 6e-6 relative
            allowed = 2e-5 * reference.abs().max() + (ulp(reference, dtype) if dtype == k.dtype else 0)
            out = run(x)
            report(name, f"301x768 {dtype}", worst(out, reference, allowed), 1)
            report(name, "alone, bits differing", (run(x[200:201].clone()) != out[200:201]).sum().item(), 0)


def check_rope(k):
    for heads in (1, 4, 6, 12, 16, 32):
        positions = torch.cat([torch.arange(n, device="cuda", dtype=torch.int32) for n in (500, 1, 300, 33)] + [torch.tensor([32767], device="cuda", dtype=torch.int32)])
        inverse = 160000.0 ** (-torch.arange(0, 64, 2, device="cuda", dtype=torch.float64) / 64)
        angle = torch.arange(32768, device="cuda", dtype=torch.float64)[:, None] * inverse
        table = torch.stack([angle.cos(), angle.sin()], -1).float().contiguous()
        qkv = guarded(randn(len(positions), heads * 192, dtype=k.dtype, scale=5))
        before = qkv.clone()
        x = before.double().view(len(positions), 3 * heads, 64)
        cosine, sine = (table[positions.long()].double()[:, None, :, i] for i in (0, 1))
        low, high = x[..., :32], x[..., 32:]
        reference = torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1)
        reference[:, 2 * heads :] = x[:, 2 * heads :]
        reference = reference.view_as(qkv)
        k.rope(qkv, table, positions, heads)
        report("rope", f"heads={heads}", worst(qkv, reference, ulp(reference, k.dtype) * 0.51 + 3e-7 * before.abs().max().double()), 1)


def check_activation(k):
    for tokens, width in ((1, 8), (3, 1152), (1000, 1152), (77, 2624), (129, 1544)):
        for scale in (1.0, 6.0):
            x = guarded(randn(tokens, 2 * width, dtype=k.dtype, scale=scale))
            reference = gelu(x[:, :width].double()) * x[:, width:].double()
            # f32 arithmetic flushes Phi(u) below 2^-126, deep in the tail, to zero
            allowed = ulp(reference, k.dtype) + 2.0**-125 * x[:, width:].double().abs()
            out = k.gated(x)
            report("gated_activation", f"T={tokens} I={width} scale={scale:g}", worst(out, reference, allowed), 1)
            k.gated(x, out=x[:, :width])
            report("gated_activation", "in place, bits differing", (x[:, :width] != out).sum().item(), 0)
    every = torch.arange(0, 65536, device="cuda", dtype=torch.int32).to(torch.int16).view(k.dtype)
    every = every[every.isfinite() & (every.abs() < 1e4)]
    every = every[: len(every) // 8 * 8]
    x = torch.cat([every, torch.ones_like(every)])[None].contiguous()
    reference = gelu(every.double())
    report("gated_activation", "every value of the type, gate 1", worst(k.gated(x)[0], reference, ulp(reference, k.dtype) + 2.0**-125), 1)


def check_pool(k):
    lens = [1, 2, 31, 32, 33, 500, 128, 32768, 4096, 3]
    for hidden in (64, 384, 768, 1024, 2048):
        x = guarded(randn(sum(lens), hidden, dtype=k.dtype, scale=30) + 1)
        cu = torch.tensor([0] + lens, device="cuda").cumsum(0).to(torch.int32)
        parts = x.double().split(lens)
        mean, scale = torch.stack([p.mean(0) for p in parts]), torch.stack([p.abs().mean(0) for p in parts])
        out = k.pool(x, cu, torch.arange(len(lens), device="cuda", dtype=torch.int32))
        report("pool mean", f"H={hidden}", worst(out, mean, 1e-5 * scale + 1e-30), 1)
        some = torch.tensor([7, 0, 5], device="cuda", dtype=torch.int32)
        report("pool mean", "chosen segments, bits differing", (k.pool(x, cu, some) != out[some.long()]).sum().item(), 0)
        alone = parts[5].to(k.dtype).contiguous()
        cu_alone = torch.tensor([0, lens[5]], device="cuda", dtype=torch.int32)
        report("pool mean", "alone, bits differing", (k.pool(alone, cu_alone, torch.zeros_like(some[:1]))[0] != out[5]).sum().item(), 0)
        picks = torch.randint(0, len(x), (77,), device="cuda", dtype=torch.int32)
        report("gather_rows", f"H={hidden}, values differing", (k.gather_rows(x, picks) != x[picks.long()]).sum().item(), 0)


def check_linear(k):
    for x_type in (k.dtype, torch.float32):
        for count, labels, hidden in ((1, 1, 64), (5, 2, 768), (1000, 9, 768), (64, 256, 1024), (512, 768, 768), (3, 17, 2048)):
            x, w = guarded(randn(count, hidden, dtype=x_type, scale=4)), guarded(randn(labels, hidden, dtype=k.dtype))
            bias = torch.randn(labels, device="cuda") if labels != 2 else None
            reference = x.double() @ w.double().T + (bias.double() if bias is not None else 0)
            allowed = 2e-6 * (x.double().abs() @ w.double().abs().T) + 1e-6
            out = k.linear_rows(x, w, bias)
            report("linear_rows", f"{x_type} {count}x{labels}x{hidden}".replace("torch.", ""), worst(out, reference, allowed), 1)
            row = count // 2
            alone = k.linear_rows(x[row : row + 1].clone(), w, bias)
            report("linear_rows", "alone, bits differing", (alone[0] != out[row]).sum().item(), 0)


def attention_reference(qkv, heads, picks, window):
    """Computes float64 attention of the query rows `picks` of one sequence."""
    length = len(qkv)
    q, key, value = qkv.view(length, 3, heads, 64).permute(1, 2, 0, 3)
    out = []
    for h in range(heads):
        scores = q[h, picks].double() @ key[h].double().T / 8
        if window is not None:
            scores.masked_fill_((picks[:, None] - torch.arange(length, device="cuda")[None]).abs() > window, float("-inf"))
        out.append(torch.softmax(scores, 1) @ value[h].double())
    return torch.cat(out, 1)


def check_attention(k, heads=12):
    limit = 4e-3 if k.dtype == torch.bfloat16 else 6e-4
    for kind, window in [(kind, None) for kind in k.full_attentions()] + [("mma", 64), ("mma", 16), ("mma", 100)]:
        name = f"attention {kind}" if window is None else f"attention w={window}"

        def run(qkv, lens, reverse=False):
            return k.attention(qkv, heads, k.tiles(lens, kind, reverse), kind, window)

        singles = LENGTHS if window in (None, 64) else [1, 65, 130, 1000]
        for lens, scale in [([n], 1.0) for n in singles] + [(MIXED, 1.0), (MIXED, 30.0)]:
            qkv = guarded(randn(sum(lens), heads * 192, dtype=k.dtype, scale=scale))
            out = run(qkv, lens)
            error, size, start = 0.0, 0.0, 0
            for n in lens:
                picks = torch.arange(n, device="cuda")
                if n > 300:
                    picks = torch.cat([picks[:70], picks[-70:], torch.randint(0, n, (100,), device="cuda")])
                reference = attention_reference(qkv[start : start + n], heads, picks, window)
                error += (out[start : start + n][picks].double() - reference).square().sum().item()
                size += reference.square().sum().item()
                start += n
            finite = torch.isfinite(out).all().item()
            report(name, f"{len(lens)} sequences, {sum(lens)} tokens, scale {scale:g}", (error / size) ** 0.5 if finite else float("nan"), limit)
        for n in (1000, 129):
            at = MIXED.index(n)
            start = sum(MIXED[:at])
            alone = run(qkv[start : start + n].clone(), [n])
            report(name, f"{n} tokens alone, bits differing", (alone != out[start : start + n]).sum().item(), 0)
            poisoned = torch.full_like(qkv, float("nan"))
            poisoned[start : start + n] = qkv[start : start + n]
            among = run(poisoned, MIXED)
            report(name, f"{n} tokens among NaNs, bits differing", (among[start : start + n] != alone).sum().item(), 0)
        report(name, "work list reversed, bits differing", (run(qkv, MIXED, reverse=True) != out).sum().item(), 0)
        different = sum((run(qkv, MIXED) != out).sum() for _ in range(REPEATS)).item()
        report(name, f"{REPEATS} repeats, bits differing", different, 0)
        for odd in (1, 6, 16, 32):
            qkv = guarded(randn(333, odd * 192, dtype=k.dtype))
            reference = attention_reference(qkv, odd, torch.arange(333, device="cuda"), window)
            out = k.attention(qkv, odd, k.tiles([333], kind), kind, window)
            report(name, f"{odd} heads", ((out.double() - reference).norm() / reference.norm()).item(), limit)


CHECKS = {
    "norms": check_norms,
    "rope": check_rope,
    "activation": check_activation,
    "pool": check_pool,
    "linear": check_linear,
    "attention": check_attention,
}


def main():
    global REPEATS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default=default_arch(torch))
    parser.add_argument("-D", dest="defines", action="append", default=[])
    parser.add_argument("--only", default=",".join(CHECKS))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--all", action="store_true", help="print every line, not only failures and the worst of each kernel")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    if args.tiny:
        LENGTHS[:], MIXED[:], REPEATS = [1, 65, 300], [65, 1, 129, 1000], 2
    seed = args.seed if args.seed is not None else torch.seed() % 2**32
    torch.manual_seed(seed)
    for f16 in (False, True):
        k = Kernels(torch, args.arch, f16, args.defines)
        first = len(rows)
        for name in args.only.split(","):
            CHECKS[name](k)
            torch.cuda.synchronize()
        rows[first:] = [r + ("  f16" if f16 else "  bf16") for r in rows[first:]]
    shown = [r for r in rows if args.all or r.startswith("FAIL")]
    print("\n".join(shown))
    for name in sorted({r[5:23] for r in rows}):
        mine = [r for r in rows if r[5:23] == name]
        print(f"{name} {len(mine):4} checks {sum(r.startswith('FAIL') for r in mine):4} failed")
    print(f"{torch.cuda.get_device_name()}, {args.arch}, torch {torch.__version__}, seed {seed}: {len(rows)} checks, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
