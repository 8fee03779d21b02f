// Full flash attention for Hopper (sm_90a): the computation, shapes and work list of attention_full in attention.cu, by
// wgmma and warp specialisation after FlashAttention-3 (Shah et al. 2024, arXiv:2407.08608).
//
// One block per multiprocessor walks the work list (head fastest) with a stride of the grid. Its first warpgroup is the
// producer: it copies Q, K and V tiles into shared memory, running ahead into the next work item. The other
// ATTN90_CONSUMERS warpgroups own 64 queries each: S = Q K^T by wgmma from shared memory, softmax in registers,
// O += P V by wgmma with P from registers. The exponentials cost as much time as the products at head_dim 64; they hide
// because S of the next keys and P V of these ones are issued together, the softmax running while P V is still in the
// tensor cores, and because three warpgroups are at different places. (Turns between warpgroups, exp2 by a polynomial
// on the FMA pipe, and guessing the maximum were measured and did not help: docs/perf-log.md.)
// Copies are cp.async by 128 threads rather than TMA: rows past the sequence's end must become zeros (a tensor map
// knows only the end of the buffer, and 0 * NaN of a neighbour is NaN), and the host has no descriptor to build. Each
// writer fences its generic-proxy writes for the async proxy of wgmma before it signals the barrier.
// A row's reference lags behind its maximum by up to 2^8, as in attention.cu, so that O is rarely rescaled.
//
// Shared memory: tiles of 128-byte rows in wgmma's 128-byte swizzle: 16-byte chunk c of row r lies at c ^ (r & 7).
// Launch: grid = min(heads * N, multiprocessors), block = ATTN90_THREADS, dynamic shared memory = ATTN90_SHARED_BYTES;
//         a tile of the work list covers ATTN90_ROWS queries.
// Tolerance: that of attention.cu.

#define ATTN90_CONSUMERS 3
#define ATTN90_ROWS (64 * ATTN90_CONSUMERS)
#define ATTN90_THREADS (128 * (ATTN90_CONSUMERS + 1))
#define ATTN90_KEYS 128
#define ATTN90_STAGES 2
#define ATTN90_SHARED_BYTES (128 * (2 * ATTN90_ROWS + 2 * ATTN90_STAGES * ATTN90_KEYS) + 256)

#define PRODUCER_REGISTERS 32   // setmaxnreg: 128 a thread at launch, moved from the producer to the consumers,
#define CONSUMER_REGISTERS 160  // who hold S (64), P (32) and O (32)
#define TILE_BYTES (ATTN90_KEYS * 128)
#define Q_BYTES (ATTN90_ROWS * 128)
#define BARRIERS (2 * Q_BYTES + 2 * ATTN90_STAGES * TILE_BYTES)
#define SOFTMAX_SCALE 0.18033688011112042f  // log2(e) / sqrt(64)
#define REFERENCE_LAG 8.0f                    // in powers of two: P stays within 2^8, far inside bf16 and f16
#ifdef BIGBATCH_F16
#define WGMMA_TYPES ".f32.f16.f16"
#else
#define WGMMA_TYPES ".f32.bf16.bf16"
#endif

// ---- barriers -------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void barrier_init(u32 barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void barrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// One arrival per warp: the other lanes' accesses are ordered before it by __syncwarp.
__device__ __forceinline__ void barrier_arrive_warp(u32 barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrier_arrive(barrier);
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

// A ring of tiles with a full and an empty barrier each, and this thread's place in it. A barrier completes once a
// round: the parity of the round tells a completed one from the one before.
// Every thread that writes to a tile arrives for itself: the producer's always, the consumers' where they write too
// (WRITTEN: O leaves through Q's tiles). One lane a warp would do, but compute-sanitizer's racecheck does not follow a
// write through __syncwarp to another lane's arrival.
template <int SLOTS, int BYTES, bool WRITTEN>
struct Ring {
    u32 tiles, barriers, slot = 0, parity = 0;

    __device__ __forceinline__ Ring(u32 tiles, u32 barriers) : tiles(tiles), barriers(barriers) {}
    __device__ __forceinline__ u32 tile() const { return tiles + slot * BYTES; }
    __device__ __forceinline__ u32 full() const { return barriers + slot * 8; }
    __device__ __forceinline__ u32 empty() const { return barriers + (SLOTS + slot) * 8; }
    __device__ __forceinline__ void next() {
        if (++slot == SLOTS) slot = 0, parity ^= 1;
    }
    // The consumers' side: wait for the tile, then hand it back.
    __device__ __forceinline__ void wait() const { barrier_wait(full(), parity); }
    __device__ __forceinline__ void release() {
        if (WRITTEN) barrier_arrive(empty());
        else barrier_arrive_warp(empty());
        next();
    }
    __device__ __forceinline__ void init() const {
        for (int i = 0; i < SLOTS; i++) {
            barrier_init(barriers + i * 8, 128);
            barrier_init(barriers + (SLOTS + i) * 8, (WRITTEN ? 128 : 4) * ATTN90_CONSUMERS);
        }
    }
};

// Shared memory: the tiles, each 1024-byte aligned for the swizzle, then the barriers.
struct Rings {
    Ring<2, Q_BYTES, true> q;
    Ring<ATTN90_STAGES, TILE_BYTES, false> k, v;

    __device__ __forceinline__ Rings(u32 shared)
        : q(shared, shared + BARRIERS),
          k(shared + 2 * Q_BYTES, shared + BARRIERS + 32),
          v(shared + 2 * Q_BYTES + ATTN90_STAGES * TILE_BYTES, shared + BARRIERS + 32 + 16 * ATTN90_STAGES) {}
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
        barrier_arrive(unsignalled);
        unsignalled = 0;
    }

    // Rows first .. of one head's 64 columns (`column`: row 0 of the sequence); rows past its end become zeros, unread.
    template <int SLOTS, int BYTES, bool WRITTEN>
    __device__ __forceinline__ void copy(Ring<SLOTS, BYTES, WRITTEN>& ring, const elem* column, int stride, int first,
                                         int len) {
        if (!__all_sync(FULL_MASK, barrier_try(ring.empty(), ring.parity ^ 1))) {
            signal<0>();
            barrier_wait(ring.empty(), ring.parity ^ 1);
        }
        const int chunk = threadIdx.x & 7, row = threadIdx.x >> 3;
        const u32 target = ring.tile() + row * 128 + ((chunk ^ (row & 7)) << 4);
        const elem* from = column + (u64)(first + row) * stride + chunk * 8;
#pragma unroll
        for (int i = 0; i < BYTES / 2048; i++) {
            const int bytes = first + row + i * 16 < len ? 16 : 0;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target + i * 2048), "l"(from), "r"(bytes)
                         : "memory");
            from += 16 * stride;
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        signal<1>();
        unsignalled = ring.full();
        ring.next();
    }
};

__device__ __forceinline__ void produce(Rings rings, const elem* qkv, const int4* tiles, int count, int heads) {
    const int hidden = heads * 64, stride = 3 * hidden;
    Producer producer;
    for (int item = blockIdx.x; item < count * heads; item += gridDim.x) {
        const int4 work = tiles[item / heads];
        if (work.y == 0) continue;  // padding of a recorded launch: neither side touches the rings
        const elem* q_column = qkv + (u64)work.x * stride + item % heads * 64;
        const elem* k_column = q_column + hidden;
        const elem* v_column = k_column + hidden;
        const int len = work.y;
        producer.copy(rings.q, q_column, stride, work.z, len);
        producer.copy(rings.k, k_column, stride, 0, len);
        int first = 0;  // the consumers ask for the keys of the next step before the values of this one
#pragma unroll 1
        for (; first + ATTN90_KEYS < len; first += ATTN90_KEYS) {
            producer.copy(rings.k, k_column, stride, first + ATTN90_KEYS, len);
            producer.copy(rings.v, v_column, stride, first, len);
        }
        producer.copy(rings.v, v_column, stride, first, len);
    }
    producer.signal<0>();
}

// ---- wgmma ----------------------------------------------------------------------------------------------------------

// Descriptor of a swizzled tile: address / 16, leading offset unused, 1024 bytes between groups of eight rows.
__device__ __forceinline__ u64 descriptor(u32 address) {
    return (u64)((address & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}

#define F4(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define F16(d, i) F4(d, i), F4(d, i + 1), F4(d, i + 2), F4(d, i + 3)
#define F32(d, i) F16(d, i), F16(d, i + 4)

// S (64 x 128) = or += Q (64 x 16) K^T (16 x 128), both from shared memory.
template <int ACCUMULATE>
__device__ __forceinline__ void wgmma_scores(float (&s)[16][4], u64 q, u64 k) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16" WGMMA_TYPES
        " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,"
        "%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,"
        "%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, %64, %65, %66, 1, 1, 0, 0;"
        : F32(s, 0), F32(s, 8)
        : "l"(q), "l"(k), "n"(ACCUMULATE));
}

// O (64 x 64) += P (64 x 16, registers) V (16 x 64, its rows are the summed dimension: transposed B).
__device__ __forceinline__ void wgmma_values(float (&o)[8][4], const u32 (&p)[4], u64 v) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16" WGMMA_TYPES
        " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,"
        "%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
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

// Scores to exponentials in place. reference: per row, the scaled score that counts as 0; decay: what the output and
// the sum so far must be multiplied by.
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
        if (FIRST || top > before + REFERENCE_LAG) reference[half] = top;
        decay[half] = FIRST ? 1.0f : exp2_approx(before - reference[half]);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = 0.0f;
#pragma unroll
        for (int n = 0; n < 16; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                s[n][e] = exp2_approx(fmaf(s[n][e], SOFTMAX_SCALE, -reference[half]));
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

__device__ __forceinline__ void rescale(float (&o)[8][4], const float (&decay)[2]) {
    if (!__any_sync(FULL_MASK, decay[0] != 1.0f || decay[1] != 1.0f)) return;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) o[n][e] *= decay[e / 2];
}

// One work item: this warpgroup's 64 queries against every key of the sequence. Leaves O unnormalised and the sums.
// Each turn of the loop opens with what must wait for the P V of the turn before. At the end of that turn it would come
// right after the softmax, and the assembler would move the wait up, before the exponentials it is to overlap with.
__device__ __forceinline__ void attend(Rings& rings, u64 q, int len, float (&o)[8][4], float (&sum)[2]) {
    float s[16][4], reference[2], decay[2];
    u32 p[8][4];
    rings.k.wait();
    wgmma_fence();
    issue_scores(s, q, descriptor(rings.k.tile()));
    wait_scores<0>(s);
    rings.k.release();
    if (len < ATTN90_KEYS) mask(s, len);
    softmax<true>(s, reference, sum, decay);

#pragma unroll 1
    for (int key = ATTN90_KEYS; key < len; key += ATTN90_KEYS) {
        wait_values(o, s);
        if (key > ATTN90_KEYS) rings.v.release();
        rescale(o, decay);
        pack(s, p);
        rings.k.wait();
        wgmma_fence();
        issue_scores(s, q, descriptor(rings.k.tile()));
        rings.v.wait();
        issue_values(o, p, descriptor(rings.v.tile()));
        wait_scores<1>(s);
        rings.k.release();
        if (len - key < ATTN90_KEYS) mask(s, len - key);
        softmax<false>(s, reference, sum, decay);
    }
    wait_values(o, s);
    if (len > ATTN90_KEYS) rings.v.release();
    rescale(o, decay);
    pack(s, p);
    rings.v.wait();
    wgmma_fence();
    issue_values(o, p, descriptor(rings.v.tile()));
    wait_values(o, s);
    rings.v.release();
}

// A warpgroup without queries in the sequence's last tile hands every buffer on, in step with the others.
__device__ __forceinline__ void pass(Rings& rings, int len) {
#pragma unroll 1
    for (int key = 0; key < len; key += ATTN90_KEYS) {
        rings.k.wait();
        rings.k.release();
        rings.v.wait();
        rings.v.release();
    }
}

__device__ __forceinline__ void consume(Rings rings, elem* out, const int4* tiles, int count, int heads) {
    // The shuffle tells the compiler that the index is the same for a whole warp.
    const int group = __shfl_sync(FULL_MASK, threadIdx.x >> 7, 0) - 1, hidden = heads * 64;
    for (int item = blockIdx.x; item < count * heads; item += gridDim.x) {
        const int4 work = tiles[item / heads];
        if (work.y == 0) continue;
        const int first = work.z + group * 64, len = work.y;
        rings.q.wait();
        if (first < len) {
            const u32 q_rows = rings.q.tile() + group * 64 * 128;
            float o[8][4] = {}, sum[2];
            attend(rings, descriptor(q_rows), len, o, sum);
            store(o, sum, q_rows, out + (u64)(work.x + first) * hidden + item % heads * 64, len - first, hidden);
        } else {
            pass(rings, len);
        }
        rings.q.release();
    }
}

extern "C" __global__ void __launch_bounds__(ATTN90_THREADS, 1)
    attention_full_sm90(const elem* qkv, elem* out, const int4* tiles, int count, int heads) {
    extern __shared__ __align__(1024) unsigned char shared[];
    const Rings rings(__cvta_generic_to_shared(shared));
    if (threadIdx.x == 0) {
        rings.q.init();
        rings.k.init();
        rings.v.init();
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(PRODUCER_REGISTERS));
        produce(rings, qkv, tiles, count, heads);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(CONSUMER_REGISTERS));
        consume(rings, out, tiles, count, heads);
    }
}
