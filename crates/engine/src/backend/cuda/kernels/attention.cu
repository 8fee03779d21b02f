// Flash attention, forward only, over packed sequences: FlashAttention-2 (Dao 2023, arXiv:2307.08691) for head_dim 64.
//
//   out[i, h] = sum_j softmax_j(q[i, h] . k[j, h] / 8) v[j, h]        over the tokens j of i's own sequence;
//   attention_window: only those with |i - j| <= window.
//
// Shapes: qkv [T, 3H], H = heads * 64, columns q | k | v, head h at h * 64 of each, rotary embedding already applied;
// out [T, H]; tiles int4 [N] {first token of the sequence, its length, first query of the tile in the sequence, 0}: one
// entry per ATTN_ROWS queries, any order; the host puts the longest first, so that no block is left over at the end.
//
// A block owns one query tile of one head. Each of its four warps owns 32 queries (two m16 fragments: with one, shared
// memory would feed the tensor cores too slowly) and keeps Q, the scores of ATTN_STEP keys and the output in registers.
// Keys and values stream through ATTN_STAGES shared-memory buffers of ATTN_KEYS rows by cp.async. Scores never leave
// registers: an accumulator fragment of Q K^T is, packed, an A fragment of P V.
// A row of 64 elements is 128 bytes, all 32 banks: 16-byte chunk c of row r lies at c ^ (r & 7), so that the eight rows
// ldmatrix reads at once fall on different banks.
// The softmax is the online one: a running maximum and sum per row in f32, exponentials as exp2 with 1/8 * log2 e folded
// into one multiplication. Tiles start at the sequence's own start, so a row's bits depend on its own sequence alone.
//
// Launch: block = ATTN_THREADS, dynamic shared memory = ATTN_SHARED_BYTES;
//         attention_full: grid = (N, heads), so that blocks running together share keys in L2;
//         attention_window: grid = (heads, N), so that blocks running together share rows in L2 and DRAM pages.
// Tolerance: ||out - f64|| / ||f64|| <= 4e-3 (bf16), 6e-4 (f16), and per element 2 ulp of the largest |v|.

#define ATTN_ROWS 128
#ifndef MF
#define MF 2
#endif
#define ATTN_THREADS (256 / MF)
#define ATTN_KEYS 64
#ifndef ATTN_STAGES
#define ATTN_STAGES 2
#endif
#ifndef ATTN_STEP
#define ATTN_STEP 64
#endif
#ifndef ATTN_MIN_BLOCKS
#define ATTN_MIN_BLOCKS 2
#endif
#ifndef ATTN_Q_SMEM
#define ATTN_Q_SMEM 0
#endif
#define ATTN_SHARED_BYTES (128 * (ATTN_ROWS + 2 * ATTN_STAGES * ATTN_KEYS))

#define NB (ATTN_STEP / 8)                 // n8 score fragments of a step
#define SOFTMAX_SCALE 0.18033688011112042f  // log2(e) / sqrt(64)

__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#ifdef BIGBATCH_F16
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#endif
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void ldmatrix(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_trans(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// Copies rows first .. first + ROWS of one head's 64 columns (`column`: row 0 of the sequence) into a swizzled tile.
// Rows past the sequence's end become zeros and are not read: nothing of a neighbour, not even a NaN, comes in.
template <int ROWS>
__device__ __forceinline__ void load_tile(u32 tile, const elem* column, int stride, int first, int len) {
    const int chunk = threadIdx.x & 7, row = threadIdx.x >> 3;
    const u32 target = tile + row * 128 + ((chunk ^ (row & 7)) << 4);
    const elem* from = column + (u64)(first + row) * stride + chunk * 8;
#pragma unroll
    for (int i = 0; i < ROWS / (ATTN_THREADS / 8); i++) {
        const int bytes = first + row + i * (ATTN_THREADS / 8) < len ? 16 : 0;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target + i * (ATTN_THREADS * 16)),
                     "l"(from + (u64)i * (ATTN_THREADS / 8) * stride), "r"(bytes)
                     : "memory");
    }
}

__device__ __forceinline__ void commit_loads() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void wait_loads() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

template <bool WINDOWED>
__device__ __forceinline__ void attend(const elem* qkv, elem* out, const int4* tiles, int window) {
    extern __shared__ __align__(1024) unsigned char shared[];
    const int head = WINDOWED ? blockIdx.x : blockIdx.y, heads = WINDOWED ? gridDim.x : gridDim.y;
    const int4 work = tiles[WINDOWED ? blockIdx.y : blockIdx.x];
    const int len = work.y, first_query = work.z, hidden = heads * 64, stride = 3 * hidden;
    const elem* q_column = qkv + (u64)work.x * stride + head * 64;
    const elem* k_column = q_column + hidden;
    const elem* v_column = k_column + hidden;

    const int lane = threadIdx.x & 31, warp_row = (threadIdx.x >> 5) * (16 * MF);  // a warp's 32 queries start at 32 * warp
    const u32 q_tile = __cvta_generic_to_shared(shared), ring = q_tile + ATTN_ROWS * 128;
    const int key_begin = WINDOWED ? max(0, first_query - window) : 0;
    const int key_end = WINDOWED ? min(len, first_query + ATTN_ROWS + window) : len;
    const int steps = (key_end - key_begin + ATTN_KEYS - 1) / ATTN_KEYS;

    auto load_keys = [&](int step) {
        if (step < steps) {
            const u32 stage = ring + step % ATTN_STAGES * (ATTN_KEYS * 256);
            load_tile<ATTN_KEYS>(stage, k_column, stride, key_begin + step * ATTN_KEYS, len);
            load_tile<ATTN_KEYS>(stage + ATTN_KEYS * 128, v_column, stride, key_begin + step * ATTN_KEYS, len);
        }
        commit_loads();
    };
    load_tile<ATTN_ROWS>(q_tile, q_column, stride, first_query, len);
#pragma unroll
    for (int i = 0; i < ATTN_STAGES - 1; i++) load_keys(i);

    // Where this lane points ldmatrix: row (A and V: lane & 15; K: eight keys, then the next eight) and 16-byte chunk.
    const u32 qv_lane = (lane & 15) * 128 + (((lane >> 4) ^ (lane & 7)) << 4);
    const u32 k_lane = (((lane >> 4) << 3) + (lane & 7)) * 128 + ((((lane >> 3) & 1) ^ (lane & 7)) << 4);

#if !ATTN_Q_SMEM
    u32 q[MF][4][4];
#endif
    float o[MF][8][4] = {};
    float row_max[MF][2], row_sum[MF][2] = {};
    for (int m = 0; m < MF; m++) row_max[m][0] = row_max[m][1] = NEG_INF;

    for (int step = 0; step < steps; step++) {
        wait_loads<ATTN_STAGES - 2>();
        __syncthreads();  // every warp sees this step's tiles, and has finished with the buffer that is filled next
        load_keys(step + ATTN_STAGES - 1);
#if !ATTN_Q_SMEM
        if (step == 0) {
#pragma unroll
            for (int m = 0; m < MF; m++)
#pragma unroll
                for (int k = 0; k < 4; k++) ldmatrix(q[m][k], q_tile + (warp_row + m * 16) * 128 + (qv_lane ^ (k << 5)));
        }
#endif
        const u32 k_tile = ring + step % ATTN_STAGES * (ATTN_KEYS * 256), v_tile = k_tile + ATTN_KEYS * 128;
#pragma unroll
        for (int part = 0; part < ATTN_KEYS; part += ATTN_STEP) {
            const int key = key_begin + step * ATTN_KEYS + part, row = first_query + warp_row;
            if (WINDOWED && (key > row + (16 * MF - 1) + window || key + ATTN_STEP - 1 < row - window)) continue;

            float s[MF][NB][4] = {};
#pragma unroll
            for (int k = 0; k < 4; k++) {
#if ATTN_Q_SMEM
                u32 qf[MF][4];
#pragma unroll
                for (int m = 0; m < MF; m++) ldmatrix(qf[m], q_tile + (warp_row + m * 16) * 128 + (qv_lane ^ (k << 5)));
#endif
#pragma unroll
                for (int n = 0; n < NB; n += 2) {
                    u32 b[4];
                    ldmatrix(b, k_tile + (part + n * 8) * 128 + (k_lane ^ (k << 5)));
#pragma unroll
                    for (int m = 0; m < MF; m++) {
#if ATTN_Q_SMEM
                        mma(s[m][n], qf[m], b[0], b[1]);
                        mma(s[m][n + 1], qf[m], b[2], b[3]);
#else
                        mma(s[m][n], q[m][k], b[0], b[1]);
                        mma(s[m][n + 1], q[m][k], b[2], b[3]);
#endif
                    }
                }
            }

            const bool inside = key + ATTN_STEP <= len &&
                                (!WINDOWED || (key >= row + (16 * MF - 1) - window && key + ATTN_STEP - 1 <= row + window));
            if (!inside) {
#pragma unroll
                for (int m = 0; m < MF; m++)
#pragma unroll
                    for (int n = 0; n < NB; n++)
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            const int j = key + n * 8 + (lane & 3) * 2 + (e & 1);
                            const int i = row + m * 16 + (lane >> 2) + (e >> 1) * 8;
                            if (j >= len || (WINDOWED && abs(i - j) > window)) s[m][n][e] = NEG_INF;
                        }
            }

#pragma unroll
            for (int m = 0; m < MF; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float top = row_max[m][half];
#pragma unroll
                    for (int n = 0; n < NB; n++) top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
                    top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 1));
                    top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 2));
                    // A row of a window may see no key yet: any finite shift keeps its exponentials at 0, not NaN.
                    const float shift = WINDOWED && top == NEG_INF ? 0.0f : top * SOFTMAX_SCALE;
                    const float decay = exp2_approx(fmaf(row_max[m][half], SOFTMAX_SCALE, -shift));
                    row_max[m][half] = top;
                    float sum = 0.0f;
#pragma unroll
                    for (int n = 0; n < NB; n++)
#pragma unroll
                        for (int e = 2 * half; e < 2 * half + 2; e++) {
                            s[m][n][e] = exp2_approx(fmaf(s[m][n][e], SOFTMAX_SCALE, -shift));
                            sum += s[m][n][e];
                        }
                    row_sum[m][half] = fmaf(row_sum[m][half], decay, sum);
#pragma unroll
                    for (int n = 0; n < 8; n++) o[m][n][2 * half] *= decay, o[m][n][2 * half + 1] *= decay;
                }

#pragma unroll
            for (int k = 0; k < ATTN_STEP / 16; k++) {
                u32 p[MF][4];
#pragma unroll
                for (int m = 0; m < MF; m++) {
                    p[m][0] = pack2(s[m][2 * k][0], s[m][2 * k][1]);
                    p[m][1] = pack2(s[m][2 * k][2], s[m][2 * k][3]);
                    p[m][2] = pack2(s[m][2 * k + 1][0], s[m][2 * k + 1][1]);
                    p[m][3] = pack2(s[m][2 * k + 1][2], s[m][2 * k + 1][3]);
                }
#pragma unroll
                for (int n = 0; n < 8; n += 2) {
                    u32 b[4];
                    ldmatrix_trans(b, v_tile + (part + k * 16) * 128 + (qv_lane ^ (n << 4)));
#pragma unroll
                    for (int m = 0; m < MF; m++) {
                        mma(o[m][n], p[m], b[0], b[1]);
                        mma(o[m][n + 1], p[m], b[2], b[3]);
                    }
                }
            }
        }
    }

    // Normalise, and pass through the warp's own rows of the Q tile so that stores are 16 bytes wide.
    __syncwarp();
#pragma unroll
    for (int m = 0; m < MF; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = row_sum[m][half];
            sum += __shfl_xor_sync(FULL_MASK, sum, 1);
            sum += __shfl_xor_sync(FULL_MASK, sum, 2);
            const float inverse = 1.0f / sum;
            const int row = warp_row + m * 16 + half * 8 + (lane >> 2);
#pragma unroll
            for (int n = 0; n < 8; n++)
                *(u32*)(shared + row * 128 + ((n ^ (row & 7)) << 4) + (lane & 3) * 4) =
                    pack2(o[m][n][2 * half] * inverse, o[m][n][2 * half + 1] * inverse);
        }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 4 * MF; i++) {
        const int row = warp_row + i * 4 + (lane >> 3), chunk = lane & 7;
        if (first_query + row < len)
            *(uint4*)(out + (u64)(work.x + first_query + row) * hidden + head * 64 + chunk * 8) =
                *(const uint4*)(shared + row * 128 + ((chunk ^ (row & 7)) << 4));
    }
}

extern "C" __global__ void __launch_bounds__(ATTN_THREADS, ATTN_MIN_BLOCKS)
    attention_full(const elem* qkv, elem* out, const int4* tiles) {
    attend<false>(qkv, out, tiles, 0);
}

extern "C" __global__ void __launch_bounds__(ATTN_THREADS, ATTN_MIN_BLOCKS)
    attention_window(const elem* qkv, elem* out, const int4* tiles, int window) {
    attend<true>(qkv, out, tiles, window);
}
