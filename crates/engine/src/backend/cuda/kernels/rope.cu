// Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in place on the q and k columns of a packed QKV matrix.
//
// Shapes: qkv [T, 3H], H = heads * 64, columns q | k | v, head h at h * 64 of each; table float2 [max_position, 32]
// holds (cos, sin) per pair, any YaRN attention factor already in it; positions i32 [T], each token's place in its OWN
// sequence.
// Pairs are (d, d + 32), the "rotate half" order of the HuggingFace checkpoints (not interleaved):
//   x'[d]      = x[d] * cos - x[d + 32] * sin
//   x'[d + 32] = x[d + 32] * cos + x[d] * sin          for d < 32, in f32, rounded once.
// A warp owns a token. Four lanes cover a head (eight pairs each: two 16-byte vectors), so a lane reads its angles once
// and applies them to every eighth of the 2 * heads heads of q and k.
// Launch: grid = ceil(T / ROPE_TOKENS), block = ROPE_THREADS, no shared memory.
// Tolerance: bf16 within 1 ulp of the f64 formula plus 3e-7 of |x| (the two products cancel).

#define ROPE_TOKENS 4
#define ROPE_THREADS 128

extern "C" __global__ void __launch_bounds__(ROPE_THREADS)
    rope(elem* qkv, const float2* table, const int* positions, int tokens, int heads) {
    const int token = blockIdx.x * ROPE_TOKENS + (threadIdx.x >> 5);
    if (token >= tokens) return;
    const int lane = threadIdx.x & 31, chunk = lane & 3;
    float angles[2][8];  // cos, sin, cos, sin, ... of pairs chunk * 8 ..
    const float* entry = (const float*)(table + (u64)positions[token] * 32 + chunk * 8);
    load8(entry, angles[0]);
    load8(entry + 8, angles[1]);
    elem* row = qkv + (u64)token * heads * 192 + chunk * 8;
#pragma unroll 4
    for (int head = lane >> 2; head < 2 * heads; head += 8) {
        elem* p = row + head * 64;
        float low[8], high[8];
        load8(p, low);
        load8(p + 32, high);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float cosine = angles[j >> 2][(j & 3) * 2], sine = angles[j >> 2][(j & 3) * 2 + 1];
            const float a = low[j], b = high[j];
            low[j] = fmaf(a, cosine, -b * sine);
            high[j] = fmaf(b, cosine, a * sine);
        }
        store8(p, low);
        store8(p + 32, high);
    }
}
