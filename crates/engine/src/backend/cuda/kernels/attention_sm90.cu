// Full flash attention for Hopper (sm_90a): the computation, shapes and work list of attention_full in attention.cu, by
// wgmma and warp specialisation after FlashAttention-3 (Shah et al. 2024, arXiv:2407.08608).
//
// One block per multiprocessor walks the work list (head fastest) with a stride of the grid. Its first warpgroup is the
// producer: it copies Q, K and V tiles into shared memory, running ahead into the next work item. The other
// ATTN90_CONSUMERS warpgroups own 64 queries each: S = Q K^T by wgmma from shared memory, softmax in registers, O += P V by wgmma
// with P from registers. Two things hide the exponentials, which cost as much time as the products at head_dim 64:
//   - within a warpgroup, S of the next keys and P V of these ones are issued together, and the next softmax runs
//     while P V is still in the tensor cores;
//   - the warpgroups take turns to issue (named barriers), so that one's softmax lies beside another's products.
// Copies are cp.async by 128 threads rather than TMA: rows past the sequence's end must become zeros (a tensor map knows
// only the end of the buffer, and 0 * NaN of a neighbour is NaN), and no descriptor has to be built by the host. Each writer
// fences its generic-proxy writes for the async proxy of wgmma before it signals the barrier.
//
// The running maximum is allowed to lag: the reference of a row moves only when a score exceeds it by 2^8 (FlashAttention-4's
// rule), so the output is rescaled rarely. The result is the same sum, in another scale.
//
// Shared memory: tiles of 128-byte rows in the 128-byte swizzle of wgmma: 16-byte chunk c of row r lies at c ^ (r & 7).
// Launch: grid = min(heads * N, multiprocessors), block = ATTN90_THREADS, dynamic shared memory = ATTN90_SHARED_BYTES;
//         tiles cover ATTN90_ROWS queries each.
// Tolerance: that of attention.cu.

#ifndef ATTN90_CONSUMERS
#define ATTN90_CONSUMERS 3
#endif
#ifndef ATTN90_STAGES
#define ATTN90_STAGES 2
#endif
#ifndef ATTN90_TURNS
#define ATTN90_TURNS 1
#endif
#ifndef ATTN90_LAG
#define ATTN90_LAG 8
#endif
#ifndef ATTN90_POLY
#define ATTN90_POLY 0
#endif
#define ATTN90_ROWS (64 * ATTN90_CONSUMERS)
#define ATTN90_THREADS (128 * (ATTN90_CONSUMERS + 1))
#define ATTN90_KEYS 128
#define ATTN90_SHARED_BYTES (128 * (2 * ATTN90_ROWS + 2 * ATTN90_STAGES * ATTN90_KEYS) + 256)
#if ATTN90_CONSUMERS == 3
#define PRODUCER_REGISTERS 32
#define CONSUMER_REGISTERS 160
#else
#define PRODUCER_REGISTERS 40
#define CONSUMER_REGISTERS 232
#endif

#define TILE_BYTES (ATTN90_KEYS * 128)
#define Q_BYTES (ATTN90_ROWS * 128)
#define SOFTMAX_SCALE 0.18033688011112042f  // log2(e) / sqrt(64)
#ifdef BIGBATCH_F16
#define WGMMA_TYPES ".f32.f16.f16"
#else
#define WGMMA_TYPES ".f32.bf16.bf16"
#endif

// ---- barriers -------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void barrier_init(u32 barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// One arrival per warp: the other lanes' accesses are ordered before it by __syncwarp.
__device__ __forceinline__ void barrier_arrive_warp(u32 barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) == 0) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ bool barrier_try(u32 barrier, u32 parity) {
    u32 done;
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return done;
}

__device__ __forceinline__ void barrier_wait(u32 barrier, u32 parity) {
    while (!barrier_try(barrier, parity)) {}
}

// A place in a ring of buffers: the slot, and the parity its barrier completes with on this round.
template <int SLOTS>
struct Place {
    u32 slot = 0, parity = 0;
    __device__ __forceinline__ void next() {
        if (++slot == SLOTS) slot = 0, parity ^= 1;
    }
};

// Shared memory: barriers first, then (1024-byte aligned) two Q tiles, the K ring and the V ring.
struct Layout {
    u32 barriers, q, k, v;
    __device__ __forceinline__ u32 q_full(u32 i) const { return barriers + i * 8; }
    __device__ __forceinline__ u32 q_empty(u32 i) const { return barriers + 16 + i * 8; }
    __device__ __forceinline__ u32 k_full(u32 i) const { return barriers + 32 + i * 8; }
    __device__ __forceinline__ u32 k_empty(u32 i) const { return barriers + 32 + 8 * ATTN90_STAGES + i * 8; }
    __device__ __forceinline__ u32 v_full(u32 i) const { return barriers + 32 + 16 * ATTN90_STAGES + i * 8; }
    __device__ __forceinline__ u32 v_empty(u32 i) const { return barriers + 32 + 24 * ATTN90_STAGES + i * 8; }
};

// ---- producer -------------------------------------------------------------------------------------------------------

// Copies tiles and signals each one a copy later, so that two are in flight; before it would block on a full ring it
// signals what it has, or consumer and producer could wait for each other.
struct Producer {
    u32 unsignalled = 0;

    template <int PENDING>
    __device__ __forceinline__ void signal() {
        if (!unsignalled) return;
        asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        barrier_arrive_warp(unsignalled);
        unsignalled = 0;
    }

    template <int ROWS>
    __device__ __forceinline__ void copy(u32 full, u32 empty, u32 parity, u32 tile, const elem* column, int stride,
                                         int first, int len) {
        if (!__all_sync(FULL_MASK, barrier_try(empty, parity ^ 1))) {
            signal<0>();
            barrier_wait(empty, parity ^ 1);
        }
        const int chunk = threadIdx.x & 7, row = threadIdx.x >> 3;
        const u32 target = tile + row * 128 + ((chunk ^ (row & 7)) << 4);
        const elem* from = column + (u64)(first + row) * stride + chunk * 8;
#pragma unroll
        for (int i = 0; i < ROWS / 16; i++) {
            const int bytes = first + row + i * 16 < len ? 16 : 0;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target + i * 2048), "l"(from), "r"(bytes)
                         : "memory");
            from += 16 * stride;
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        signal<1>();
        unsignalled = full;
    }
};

__device__ __forceinline__ void produce(const Layout& at, const elem* qkv, const int4* tiles, int count, int heads) {
    const int hidden = heads * 64, stride = 3 * hidden;
    Producer producer;
    Place<2> q;
    Place<ATTN90_STAGES> k, v;
    for (int item = blockIdx.x; item < count * heads; item += gridDim.x) {
        const int4 work = tiles[item / heads];
        const elem* column = qkv + (u64)work.x * stride + item % heads * 64;
        const int len = work.y;
        auto keys = [&](int first) {
            producer.copy<ATTN90_KEYS>(at.k_full(k.slot), at.k_empty(k.slot), k.parity, at.k + k.slot * TILE_BYTES,
                                       column + hidden, stride, first, len);
            k.next();
        };
        auto values = [&](int first) {
            producer.copy<ATTN90_KEYS>(at.v_full(v.slot), at.v_empty(v.slot), v.parity, at.v + v.slot * TILE_BYTES,
                                       column + 2 * hidden, stride, first, len);
            v.next();
        };
        producer.copy<ATTN90_ROWS>(at.q_full(q.slot), at.q_empty(q.slot), q.parity, at.q + q.slot * Q_BYTES, column,
                                   stride, work.z, len);
        q.next();
        keys(0);
#pragma unroll 1
        for (int first = ATTN90_KEYS; first < len; first += ATTN90_KEYS) {
            keys(first);
            values(first - ATTN90_KEYS);
        }
        values((len - 1) / ATTN90_KEYS * ATTN90_KEYS);
    }
    producer.signal<0>();
}

// ---- wgmma ----------------------------------------------------------------------------------------------------------

// Descriptor of a swizzled tile: address / 16, leading offset unused, 1024 bytes between groups of eight rows.
__device__ __forceinline__ u64 descriptor(u32 address) {
    return (u64)((address & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}

#define F4(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define F32(d, i) F4(d, i), F4(d, i + 1), F4(d, i + 2), F4(d, i + 3), F4(d, i + 4), F4(d, i + 5), F4(d, i + 6), F4(d, i + 7)

// S (64 x 128) = or += Q (64 x 16) K^T (16 x 128), both from shared memory.
template <int ACCUMULATE>
__device__ __forceinline__ void wgmma_scores(float (&s)[16][4], u64 q, u64 k) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16" WGMMA_TYPES
        " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"
        "%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,"
        "%58,%59,%60,%61,%62,%63}, %64, %65, %66, 1, 1, 0, 0;"
        : F32(s, 0), F32(s, 8)
        : "l"(q), "l"(k), "n"(ACCUMULATE));
}

// O (64 x 64) += P (64 x 16, registers) V (16 x 64, its rows are the summed dimension: transposed B).
__device__ __forceinline__ void wgmma_values(float (&o)[8][4], const u32 (&p)[4], u64 v) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16" WGMMA_TYPES
        " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"
        "%30,%31}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
        : F32(o, 0)
        : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// The waits name the registers they make readable, or the compiler could read them earlier.
// `wait_values` names S as well: its exponentials must come before the wait, beside P V, not after it.
template <int PENDING>
__device__ __forceinline__ void wait_scores(float (&s)[16][4]) {
    asm volatile("wgmma.wait_group.sync.aligned %64;" : F32(s, 0), F32(s, 8) : "n"(PENDING) : "memory");
}
__device__ __forceinline__ void wait_values(float (&o)[8][4], float (&s)[16][4]) {
    asm volatile("wgmma.wait_group.sync.aligned 0;" : F32(o, 0), F32(s, 0), F32(s, 8)::"memory");
}

__device__ __forceinline__ void issue_scores(float (&s)[16][4], u64 q, u64 k) {
    wgmma_scores<0>(s, q, k);
#pragma unroll
    for (int i = 1; i < 4; i++) wgmma_scores<1>(s, q + 2 * i, k + 2 * i);
    wgmma_commit();
}

__device__ __forceinline__ void issue_values(float (&o)[8][4], const u32 (&p)[8][4], u64 v) {
#pragma unroll
    for (int i = 0; i < 8; i++) wgmma_values(o, p[i], v + 128 * i);
    wgmma_commit();
}

// ---- softmax --------------------------------------------------------------------------------------------------------

// 2^x for x <= 0 on the FMA pipe, relative error 1e-4 (far below P's rounding): Cody-Waite split, cubic on [-1/2, 1/2].
__device__ __forceinline__ float exp2_cubic(float x) {
    const float shifted = fmaxf(x, -126.0f) + 12582912.0f;
    const float f = fmaxf(x, -126.0f) - (shifted - 12582912.0f);
    float r = fmaf(0.0550082046f, f, 0.2422109577f);
    r = fmaf(r, f, 0.6932830046f);
    r = fmaf(r, f, 1.0f);
    return __int_as_float(__float_as_int(r) + (__float_as_int(shifted) << 23));
}

// Scores to exponentials in place. reference: per row, the scaled score that counts as 0; decay: what the output and the
// sum so far must be multiplied by.
template <bool FIRST>
__device__ __forceinline__ void softmax(float (&s)[16][4], float (&reference)[2], float (&sum)[2], float (&decay)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = fmaxf(s[0][2 * half], s[0][2 * half + 1]);
#pragma unroll
        for (int n = 1; n < 16; n++) top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 1));
        top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 2)) * SOFTMAX_SCALE;
        const float before = reference[half];
        if (FIRST || top > before + ATTN90_LAG) reference[half] = top;
        decay[half] = FIRST ? 0.0f : exp2_approx(before - reference[half]);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = 0.0f;
#pragma unroll
        for (int n = 0; n < 16; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                const float x = fmaf(s[n][e], SOFTMAX_SCALE, -reference[half]);
                s[n][e] = (n * 2 + (e & 1)) % 16 < ATTN90_POLY ? exp2_cubic(x) : exp2_approx(x);
                total += s[n][e];
            }
        sum[half] = FIRST ? total : fmaf(sum[half], decay[half], total);
    }
}

__device__ __forceinline__ void mask(float (&s)[16][4], int valid) {
#pragma unroll
    for (int n = 0; n < 16; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (n * 8 + (threadIdx.x & 3) * 2 + (e & 1) >= valid) s[n][e] = NEG_INF;
}

__device__ __forceinline__ void pack(const float (&s)[16][4], u32 (&p)[8][4]) {
#pragma unroll
    for (int k = 0; k < 8; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) p[k][i] = pack2(s[2 * k + i / 2][i % 2 * 2], s[2 * k + i / 2][i % 2 * 2 + 1]);
}

// ---- consumers ------------------------------------------------------------------------------------------------------

// Turns: a warpgroup issues its products when the one before it has issued its own.
__device__ __forceinline__ void await_turn(int group) {
#if ATTN90_TURNS
    asm volatile("bar.sync %0, 256;" ::"r"(1 + group) : "memory");
#endif
}
__device__ __forceinline__ void pass_turn(int group) {
#if ATTN90_TURNS
    asm volatile("bar.arrive %0, 256;" ::"r"(1 + (group + 1) % ATTN90_CONSUMERS) : "memory");
#endif
}

// Normalises and stores 64 rows through this warp's own rows of the Q tile, which nobody reads any more.
__device__ __forceinline__ void store(float (&o)[8][4], float (&sum)[2], u32 q_rows, elem* out, int rows, int hidden) {
    const int lane = threadIdx.x & 31;
    const u32 own = q_rows + (threadIdx.x >> 5 & 3) * 16 * 128;
    const int first = (threadIdx.x >> 5 & 3) * 16;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = sum[half];
        total += __shfl_xor_sync(FULL_MASK, total, 1);
        total += __shfl_xor_sync(FULL_MASK, total, 2);
        const float inverse = 1.0f / total;
        const int row = half * 8 + (lane >> 2);
#pragma unroll
        for (int n = 0; n < 8; n++)
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(own + row * 128 + ((n ^ (row & 7)) << 4) + (lane & 3) * 4),
                         "r"(pack2(o[n][2 * half] * inverse, o[n][2 * half + 1] * inverse))
                         : "memory");
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = i * 4 + (lane >> 3), chunk = lane & 7;
        uint4 value;
        asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                     : "r"(own + row * 128 + ((chunk ^ (row & 7)) << 4))
                     : "memory");
        if (first + row < rows) *(uint4*)(out + (u64)(first + row) * hidden + chunk * 8) = value;
    }
}

__device__ __forceinline__ void consume(const Layout& at, elem* out, const int4* tiles, int count, int heads) {
    const int group = (threadIdx.x >> 7) - 1, hidden = heads * 64;
    Place<2> q;
    Place<ATTN90_STAGES> k, v;
    if (group == ATTN90_CONSUMERS - 1) pass_turn(group);
    for (int item = blockIdx.x; item < count * heads; item += gridDim.x) {
        const int4 work = tiles[item / heads];
        const int steps = (work.y + ATTN90_KEYS - 1) / ATTN90_KEYS;
        const u32 q_rows = at.q + q.slot * Q_BYTES + group * 64 * 128;
        const u64 q_matrix = descriptor(q_rows);
        float s[16][4], o[8][4] = {}, reference[2], sum[2], decay[2];
        u32 p[8][4];

        barrier_wait(at.q_full(q.slot), q.parity);
        barrier_wait(at.k_full(k.slot), k.parity);
        await_turn(group);
        wgmma_fence();
        issue_scores(s, q_matrix, descriptor(at.k + k.slot * TILE_BYTES));
        pass_turn(group);
        wait_scores<0>(s);
        barrier_arrive_warp(at.k_empty(k.slot));
        k.next();
        if (work.y < ATTN90_KEYS) mask(s, work.y);
        softmax<true>(s, reference, sum, decay);
        pack(s, p);

#pragma unroll 1
        for (int step = 1; step < steps; step++) {
            barrier_wait(at.k_full(k.slot), k.parity);
            await_turn(group);
            wgmma_fence();
            issue_scores(s, q_matrix, descriptor(at.k + k.slot * TILE_BYTES));
            barrier_wait(at.v_full(v.slot), v.parity);
            issue_values(o, p, descriptor(at.v + v.slot * TILE_BYTES));
            pass_turn(group);
            wait_scores<1>(s);
            barrier_arrive_warp(at.k_empty(k.slot));
            k.next();
            if (step + 1 == steps && work.y % ATTN90_KEYS) mask(s, work.y % ATTN90_KEYS);
            softmax<false>(s, reference, sum, decay);
            // The sums are never negative; asking makes this branch, and the wait behind it, follow every exponential.
            if (__any_sync(FULL_MASK, decay[0] != 1.0f || decay[1] != 1.0f || sum[0] < 0.0f || sum[1] < 0.0f)) {
                wait_values(o, s);
#pragma unroll
                for (int n = 0; n < 8; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) o[n][e] *= decay[e / 2];
            }
            wait_values(o, s);
            barrier_arrive_warp(at.v_empty(v.slot));
            v.next();
            pack(s, p);
        }

        barrier_wait(at.v_full(v.slot), v.parity);
        wgmma_fence();
        issue_values(o, p, descriptor(at.v + v.slot * TILE_BYTES));
        wait_values(o, s);
        barrier_arrive_warp(at.v_empty(v.slot));
        v.next();
        const int first = work.z + group * 64;
        store(o, sum, q_rows, out + (u64)(work.x + first) * hidden + item % heads * 64, work.y - first, hidden);
        barrier_arrive_warp(at.q_empty(q.slot));
        q.next();
    }
}

extern "C" __global__ void __launch_bounds__(ATTN90_THREADS, 1)
    attention_full_sm90(const elem* qkv, elem* out, const int4* tiles, int count, int heads) {
    extern __shared__ __align__(1024) unsigned char shared[];
    Layout at;
    at.q = __cvta_generic_to_shared(shared);
    at.k = at.q + 2 * Q_BYTES;
    at.v = at.k + ATTN90_STAGES * TILE_BYTES;
    at.barriers = at.v + ATTN90_STAGES * TILE_BYTES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) {
            barrier_init(at.q_full(i), 4);
            barrier_init(at.q_empty(i), 4 * ATTN90_CONSUMERS);
        }
        for (int i = 0; i < ATTN90_STAGES; i++) {
            barrier_init(at.k_full(i), 4);
            barrier_init(at.v_full(i), 4);
            barrier_init(at.k_empty(i), 4 * ATTN90_CONSUMERS);
            barrier_init(at.v_empty(i), 4 * ATTN90_CONSUMERS);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(PRODUCER_REGISTERS));
        produce(at, qkv, tiles, count, heads);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(CONSUMER_REGISTERS));
        consume(at, out, tiles, count, heads);
    }
}
