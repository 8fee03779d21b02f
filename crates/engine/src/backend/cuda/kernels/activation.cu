// The activation that the model's config names, alone or multiplied by a gate (GLU, Shazeer 2020, arXiv:2002.05202;
// GeGLU with ModernBERT's own).
//
//   gated_activation  out[t, i] = f(x[t, i]) * x[t, I + i]
//   activation        x[r, :] = f(x[r, :]), in place
//   activation_f32    the same on f32 rows (pooled rows)
//
// f is the function act_NAME below that the host's macro ACTIVATION names. The file is compiled once per activation of
// the model, so that none pays for another.
//
// Shapes: gated: x [T, 2I], out [T, I] with rows `out_stride` apart; I and out_stride multiples of 8. out == x with
// out_stride 2I is allowed: each output takes its own inputs' place. The first half is the activated one, as
// ModernBERT's Wi is split. The others: x [rows, H], H a multiple of 64.
// One thread of gated_activation computes eight outputs: two 16-byte loads, one 16-byte store; device memory is the
// limit. A warp of the others owns a row.
// Launch: gated_activation: grid = ceil(T * (I / 8) / GATED_THREADS), block = GATED_THREADS, no shared memory;
//         the others: grid = ceil(rows / ACTIVATION_ROWS), block = ACTIVATION_THREADS, no shared memory.
// Tolerance: within 1 bf16 ulp of the f64 formula, everywhere (tanh-GELU is up to 6e-4 from GELU: many ulps).

#define GATED_THREADS 256
#define ACTIVATION_ROWS 4
#define ACTIVATION_THREADS 128

#ifndef ACTIVATION
#define ACTIVATION act_gelu
#endif

#define LOG2_E 1.44269504088896f

// GELU with the exact error function, gelu(x) = x * Phi(x), within 6e-6 of it RELATIVE, also in the negative
// tail, where the textbook 0.5 * x * (1 + erf(x / sqrt 2)) cancels in f32.
// Phi(-z) = exp(-z^2 / 2) * R(z) for z = |x|, and R(z) = erfcx(z / sqrt 2) / 2 is smooth: a polynomial in
// t = 1 / (1 + 0.31 z) after Hastings (Abramowitz and Stegun 7.1.26), its coefficients fitted by us to the relative
// error (at most 4.8e-6 on z <= 14.5, beyond which exp(-z^2 / 2) underflows). It costs one rcp and one ex2.
__device__ __forceinline__ float act_gelu(float x) {
    float z = fabsf(x);
    float t = rcp_approx(fmaf(0.31f, z, 1.0f));
    float r = -0.07392600084552696f;
    r = fmaf(r, t, 0.18044129977880546f);
    r = fmaf(r, t, 0.01575479603651625f);
    r = fmaf(r, t, 0.13342433895385775f);
    r = fmaf(r, t, 0.120442702673286f);
    r = fmaf(r, t, 0.12386055719162703f);
    float tail = r * t * exp2_approx(-0.72134752044448f * z * z);  // Phi(-z)
    return x * (x > 0.0f ? 1.0f - tail : tail);
}

// 1 / (1 + e^-x); where e^-x overflows, the reciprocal is 0.
__device__ __forceinline__ float act_sigmoid(float x) { return rcp_approx(1.0f + exp2_approx(-LOG2_E * x)); }

// Comparisons, unlike fminf and fmaxf, keep NaN.
__device__ __forceinline__ float clip(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

// x * tanh(ln(1 + e^x)) = x * n / (n + 2) with n = e^x (e^x + 2); for x > 0 both are divided by e^2x.
__device__ __forceinline__ float act_mish(float x) {
    const float e = exp2_approx(-LOG2_E * fabsf(x));
    const float n = x < 0.0f ? e * (e + 2.0f) : fmaf(2.0f, e, 1.0f);
    return x * n * rcp_approx(n + (x < 0.0f ? 2.0f : 2.0f * e * e));
}

// 1 + tanh(u) is 2 sigmoid(2u), without the cancellation: 2 sqrt(2 / pi) and 0.044715 of it.
__device__ __forceinline__ float act_gelu_pytorch_tanh(float x) {
    return x * act_sigmoid(x * fmaf(0.0713548162726f, x * x, 1.59576912160573f));
}

__device__ __forceinline__ float act_gelu_10(float x) { return clip(act_gelu(x), -10.0f, 10.0f); }
__device__ __forceinline__ float act_quick_gelu(float x) { return x * act_sigmoid(1.702f * x); }
__device__ __forceinline__ float act_silu(float x) { return x * act_sigmoid(x); }
__device__ __forceinline__ float act_hardswish(float x) { return x * clip(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f); }
__device__ __forceinline__ float act_relu(float x) { return x < 0.0f ? 0.0f : x; }
__device__ __forceinline__ float act_relu2(float x) { return act_relu(x) * act_relu(x); }
__device__ __forceinline__ float act_relu6(float x) { return clip(x, 0.0f, 6.0f); }
__device__ __forceinline__ float act_leaky_relu(float x) { return x < 0.0f ? 0.01f * x : x; }
__device__ __forceinline__ float act_tanh(float x) { return tanhf(x); }
__device__ __forceinline__ float act_linear(float x) { return x; }

// Phi((x - 0.707107) / 0.282095), by erfc so that the tail does not cancel.
__device__ __forceinline__ float act_laplace(float x) { return 0.5f * erfcf((0.707107f - x) * 2.50662642f); }

__device__ __forceinline__ float act_sqrtsoftplus(float x) {
    return sqrtf(act_relu(x) + log1pf(exp2_approx(-LOG2_E * fabsf(x))));
}

extern "C" __global__ void __launch_bounds__(GATED_THREADS)
    gated_activation(const elem* x, elem* out, int rows, int intermediate, int out_stride) {
    const u32 vectors = intermediate / 8;
    const u32 index = blockIdx.x * GATED_THREADS + threadIdx.x;
    if (index >= rows * vectors) return;
    const u32 row = index / vectors, column = (index - row * vectors) * 8;
    const elem* p = x + (u64)row * 2 * intermediate + column;
    float u[8], gate[8];
    load8(p, u);
    load8(p + intermediate, gate);
#pragma unroll
    for (int j = 0; j < 8; j++) u[j] = ACTIVATION(u[j]) * gate[j];
    store8(out + (u64)row * out_stride + column, u);
}

template <class T>
__device__ __forceinline__ void activate_row(T* x, int hidden) {
    for (int column = (threadIdx.x & 31) * 8; column < hidden; column += 256) {
        float v[8];
        load8(x + column, v);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = ACTIVATION(v[j]);
        store8(x + column, v);
    }
}

__device__ __forceinline__ int activation_row() { return blockIdx.x * ACTIVATION_ROWS + (threadIdx.x >> 5); }

extern "C" __global__ void __launch_bounds__(ACTIVATION_THREADS) activation(elem* x, int rows, int hidden) {
    const int row = activation_row();
    if (row < rows) activate_row(x + (u64)row * hidden, hidden);
}

extern "C" __global__ void __launch_bounds__(ACTIVATION_THREADS) activation_f32(float* x, int rows, int hidden) {
    const int row = activation_row();
    if (row < rows) activate_row(x + (u64)row * hidden, hidden);
}
