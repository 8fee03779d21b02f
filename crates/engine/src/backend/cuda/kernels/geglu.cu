// GeGLU (Shazeer 2020, arXiv:2002.05202): out[t, i] = gelu_erf(x[t, i]) * x[t, I + i].
//
// Shapes: x [T, 2I], out [T, I] with rows `out_stride` apart; I and out_stride multiples of 8. out == x with out_stride
// 2I is allowed: each output takes its own inputs' place. The first half is the activated one, as ModernBERT's Wi is
// split.
// One thread computes eight outputs: two 16-byte loads, one 16-byte store; device memory is the limit.
// Launch: grid = ceil(T * (I / 8) / GEGLU_THREADS), block = GEGLU_THREADS, no shared memory.
// Tolerance: within 1 bf16 ulp of the f64 erf formula, everywhere (tanh-GELU is up to 6e-4 away: many ulps).

#define GEGLU_THREADS 256

extern "C" __global__ void __launch_bounds__(GEGLU_THREADS)
    geglu(const elem* x, elem* out, int rows, int intermediate, int out_stride) {
    const u32 vectors = intermediate / 8;
    const u32 index = blockIdx.x * GEGLU_THREADS + threadIdx.x;
    if (index >= rows * vectors) return;
    const u32 row = index / vectors, column = (index - row * vectors) * 8;
    const elem* p = x + (u64)row * 2 * intermediate + column;
    float u[8], gate[8];
    load8(p, u);
    load8(p + intermediate, gate);
#pragma unroll
    for (int j = 0; j < 8; j++) u[j] = gelu_erf(u[j]) * gate[j];
    store8(out + (u64)row * out_stride + column, u);
}
