// Helpers shared by every kernel file. The host prepends this text to each source before it is compiled,
// because NVRTC runs here without any header: no <cuda_bf16.h>, no <stdint.h>.
//
// Macros the host may define
//   BIGBATCH_F16      activations and GEMM weights are IEEE half; without it they are bfloat16
//
// What every kernel relies on
//   - base pointers are aligned to 256 bytes; matrices are row-major and dense
//   - the hidden size is a multiple of 64, so a row is a whole number of 16-byte vectors
//   - statistics, sums, norm weights and biases are f32; a value is rounded to `elem` once, when stored
//   - a row's result depends on that row's own sequence alone: sums have a fixed order, there are no atomics
//   - no local memory: arrays are indexed by constants after unrolling (the host sets the stack limit to 0)

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u16 elem;  // bits of a bfloat16 or half; arithmetic goes through the conversions below

#define NEG_INF __int_as_float(0xff800000)
#define FULL_MASK 0xffffffffu

__device__ __forceinline__ u32 pack2(float low, float high) {
    u32 packed;
#ifdef BIGBATCH_F16
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
#else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
#endif
    return packed;
}

__device__ __forceinline__ float2 unpack2(u32 packed) {
    float2 v;
#ifdef BIGBATCH_F16
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
        : "=f"(v.x), "=f"(v.y)
        : "r"(packed));
#else
    v.x = __uint_as_float(packed << 16);
    v.y = __uint_as_float(packed & 0xffff0000u);
#endif
    return v;
}

__device__ __forceinline__ void unpack8(uint4 packed, float (&v)[8]) {
    float2 a = unpack2(packed.x), b = unpack2(packed.y), c = unpack2(packed.z), d = unpack2(packed.w);
    v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = c.x, v[5] = c.y, v[6] = d.x, v[7] = d.y;
}

// Eight consecutive values as f32, from either storage type: 16 bytes of `elem` or 32 bytes of f32.
__device__ __forceinline__ void load8(const elem* p, float (&v)[8]) { unpack8(*(const uint4*)p, v); }

__device__ __forceinline__ void load8(const float* p, float (&v)[8]) {
    float4 a = ((const float4*)p)[0], b = ((const float4*)p)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

__device__ __forceinline__ void store8(elem* p, const float (&v)[8]) {
    *(uint4*)p = make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]), pack2(v[6], v[7]));
}

__device__ __forceinline__ void store8(float* p, const float (&v)[8]) {
    ((float4*)p)[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4*)p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float rcp_approx(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Butterfly: every lane ends with the same bits, whatever the launch around it.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) x += __shfl_xor_sync(FULL_MASK, x, offset);
    return x;
}
