// Kernels of the start-up checks: random operands for the GEMM algorithms under test, and the comparison of two results.
//
//   fill_random        out[i] = elem of a value uniform in (-1, 1), a hash of (seed, i)
//   count_differences  *count += how many 16-byte vectors of a and b differ in any bit
//
// Shapes: out elem [8 * vectors]; a, b of 16 * vectors bytes; count u32, set to 0 by the host.
// Launch: grid = ceil(vectors / STARTUP_THREADS), block = STARTUP_THREADS, no shared memory.

#define STARTUP_THREADS 256

// The finaliser of MurmurHash3 (Appleby): every input bit reaches every output bit.
__device__ __forceinline__ u32 mix(u32 x) {
    x ^= x >> 16, x *= 0x85ebca6bu, x ^= x >> 13, x *= 0xc2b2ae35u, x ^= x >> 16;
    return x;
}

extern "C" __global__ void __launch_bounds__(STARTUP_THREADS) fill_random(elem* out, u32 vectors, u32 seed) {
    const u32 index = blockIdx.x * STARTUP_THREADS + threadIdx.x;
    if (index >= vectors) return;
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = (int)mix(index * 8 + j ^ mix(seed)) * (1.0f / 2147483648.0f);
    store8(out + (u64)index * 8, v);
}

extern "C" __global__ void __launch_bounds__(STARTUP_THREADS)
    count_differences(const uint4* a, const uint4* b, u32 vectors, u32* count) {
    const u32 index = blockIdx.x * STARTUP_THREADS + threadIdx.x;
    if (index >= vectors) return;
    const uint4 x = a[index], y = b[index];
    if (x.x != y.x || x.y != y.y || x.z != y.z || x.w != y.w) atomicAdd(count, 1u);
}
