// Flash attention, forward only, over packed sequences: FlashAttention-2 (Dao 2023, arXiv:2307.08691) for head_dim 64,
// by mma.sync and cp.async, for sm_80 and up. attention_sm90.cu is the faster full attention of Hopper.
//
//   attention_full     out[i, h] = sum_j softmax_j(q[i, h] . k[j, h] / 8) v[j, h]   over the tokens j of i's sequence
//   attention_window   the same over those with |i - j| <= window
//
// Shapes: qkv [T, 3H], H = heads * 64, columns q | k | v, head h at h * 64 of each, rotary embedding already applied;
// out [T, H]; tiles int4 [N] {first token of the sequence, its length, first query of the tile in the sequence, 0}: one
// entry per ATTN_ROWS queries, any order; the host puts the longest first, so that no block is left over at the end.
//
// A block owns one query tile of one head. Each of its four warps owns 32 queries (two m16 fragments: with one, shared
// memory would feed the tensor cores too slowly) and keeps the scores of a step of keys and the output in registers.
// Keys and values stream through ATTN_STAGES shared-memory buffers of ATTN_KEYS rows by cp.async. Scores never leave
// registers: an accumulator fragment of Q K^T is, packed, an A fragment of P V.
// A row of 64 elements is 128 bytes, all 32 banks: 16-byte chunk c of row r lies at c ^ (r & 7), so that the eight rows
// ldmatrix reads at once fall on different banks.
// The softmax is the online one, sums in f32, exponentials as exp2 with log2 e / 8 folded into one multiplication. A
// row's reference (what its exponents are relative to) lags behind the maximum: it moves only when a score exceeds it
// by 2^8, so the output is rarely rescaled (the rule of FlashAttention-4); the quotient is the same.
// Tiles start at the sequence's own start, so a row's bits depend on its own sequence alone.
//
// Full attention is bound by its arithmetic: two blocks a multiprocessor, Q in registers, steps of 64 keys. Windowed
// attention is bound by memory: three blocks, Q read again from shared memory and steps of 32 keys, to fit registers.
//
// Launch: block = ATTN_THREADS, dynamic shared memory = ATTN_SHARED_BYTES;
//         attention_full: grid = (N, heads), so that blocks running together share keys in L2;
//         attention_window: grid = (heads, N), so that blocks running together share rows in L2 and DRAM pages.
// Tolerance: ||out - f64|| / ||f64|| <= 4e-3 (bf16), 6e-4 (f16).

#define ATTN_ROWS 128
#define ATTN_THREADS 128
#define ATTN_KEYS 64
#define ATTN_STAGES 2
#define ATTN_SHARED_BYTES (128 * (ATTN_ROWS + 2 * ATTN_STAGES * ATTN_KEYS))

#define SOFTMAX_SCALE 0.18033688011112042f  // log2(e) / sqrt(64)
#define REFERENCE_LAG 8.0f                    // in powers of two: P stays within 2^8, far inside bf16 and f16

__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#ifdef BIGBATCH_F16
#define MMA_TYPES "f32.f16.f16.f32"
#else
#define MMA_TYPES "f32.bf16.bf16.f32"
#endif
    asm volatile("mma.sync.aligned.m16n8k16.row.col." MMA_TYPES " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
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
    for (int i = 0; i < ROWS / 16; i++) {
        const int bytes = first + row + i * 16 < len ? 16 : 0;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target + i * 2048),
                     "l"(from + (u64)i * 16 * stride), "r"(bytes)
                     : "memory");
    }
}

__device__ __forceinline__ void commit_loads() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void wait_loads() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Where a lane points ldmatrix inside a tile, chunk 0: rows lane & 15, then the next chunk (Q, and V transposed) ...
__device__ __forceinline__ u32 lane_of_rows() {
    const u32 lane = threadIdx.x & 31;
    return (lane & 15) * 128 + (((lane >> 4) ^ (lane & 7)) << 4);
}
// ... or eight keys, the same eight in the next chunk, then the next eight keys (K). Chunk c is reached by ^ (c << 4).
__device__ __forceinline__ u32 lane_of_keys() {
    const u32 lane = threadIdx.x & 31;
    return ((lane >> 4) * 8 + (lane & 7)) * 128 + (((lane >> 3 & 1) ^ (lane & 7)) << 4);
}

// A warp's running softmax state: fragment m, half h of a thread is row m * 16 + h * 8 + lane / 4.
struct Rows {
    float o[2][8][4] = {};
    float reference[2][2] = {{NEG_INF, NEG_INF}, {NEG_INF, NEG_INF}};
    float sum[2][2] = {};

    // Turns scores into exponentials in place, and brings the state to their reference.
    template <bool WINDOWED, int NB>
    __device__ __forceinline__ void softmax(float (&s)[2][NB][4]) {
        float decay[2][2];
        bool moved = false;
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float top = fmaxf(s[m][0][2 * half], s[m][0][2 * half + 1]);
#pragma unroll
                for (int n = 1; n < NB; n++) top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
                top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 1));
                top = fmaxf(top, __shfl_xor_sync(FULL_MASK, top, 2)) * SOFTMAX_SCALE;
                const float before = reference[m][half];
                if (top > before + REFERENCE_LAG) reference[m][half] = top;
                // A row of a window may have met no key yet: any finite shift keeps its exponentials at 0, not NaN.
                const float shift = WINDOWED && reference[m][half] == NEG_INF ? 0.0f : reference[m][half];
                decay[m][half] = exp2_approx(before - shift);
                moved |= decay[m][half] != 1.0f;
                float total = 0.0f;
#pragma unroll
                for (int n = 0; n < NB; n++)
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; e++) {
                        s[m][n][e] = exp2_approx(fmaf(s[m][n][e], SOFTMAX_SCALE, -shift));
                        total += s[m][n][e];
                    }
                sum[m][half] = fmaf(sum[m][half], decay[m][half], total);
            }
        if (__any_sync(FULL_MASK, moved)) {
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int n = 0; n < 8; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) o[m][n][e] *= decay[m][e / 2];
        }
    }
};

template <bool WINDOWED>
__device__ __forceinline__ void attend(const elem* qkv, elem* out, const int4* tiles, int window) {
    constexpr int STEP = WINDOWED ? 32 : 64, NB = STEP / 8;  // keys whose scores a warp holds; their n8 fragments
    extern __shared__ __align__(1024) unsigned char shared[];
    const int head = WINDOWED ? blockIdx.x : blockIdx.y, heads = WINDOWED ? gridDim.x : gridDim.y;
    const int4 work = tiles[WINDOWED ? blockIdx.y : blockIdx.x];
    const int len = work.y, first_query = work.z, hidden = heads * 64, stride = 3 * hidden;
    const elem* q_column = qkv + (u64)work.x * stride + head * 64;
    const elem* k_column = q_column + hidden;
    const elem* v_column = k_column + hidden;

    const int lane = threadIdx.x & 31, warp_row = threadIdx.x & ~31;  // a warp's 32 queries start at 32 * warp
    const u32 q_tile = __cvta_generic_to_shared(shared), ring = q_tile + ATTN_ROWS * 128;
    const u32 q_warp = q_tile + warp_row * 128, row_lane = lane_of_rows(), key_lane = lane_of_keys();
    const int key_begin = WINDOWED ? max(0, first_query - window) : 0;
    const int key_end = WINDOWED ? min(len, first_query + ATTN_ROWS + window) : len;
    const int stages = (key_end - key_begin + ATTN_KEYS - 1) / ATTN_KEYS;

    auto load_keys = [&](int stage) {
        if (stage < stages) {
            const u32 buffer = ring + stage % ATTN_STAGES * (ATTN_KEYS * 256);
            load_tile<ATTN_KEYS>(buffer, k_column, stride, key_begin + stage * ATTN_KEYS, len);
            load_tile<ATTN_KEYS>(buffer + ATTN_KEYS * 128, v_column, stride, key_begin + stage * ATTN_KEYS, len);
        }
        commit_loads();
    };
    load_tile<ATTN_ROWS>(q_tile, q_column, stride, first_query, len);
    commit_loads();
#pragma unroll
    for (int i = 0; i < ATTN_STAGES - 1; i++) load_keys(i);

    u32 q[2][4][4];
    auto load_queries = [&](int k) {
#pragma unroll
        for (int m = 0; m < 2; m++) ldmatrix(q[m][k], q_warp + m * 2048 + (row_lane ^ (k << 5)));
    };
    if (!WINDOWED) {
        wait_loads<ATTN_STAGES - 1>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 4; k++) load_queries(k);
    }

    Rows rows;
    for (int stage = 0; stage < stages; stage++) {
        wait_loads<ATTN_STAGES - 2>();
        __syncthreads();  // every warp sees this stage's tiles, and has finished with the buffer that is filled next
        load_keys(stage + ATTN_STAGES - 1);
        const u32 k_tile = ring + stage % ATTN_STAGES * (ATTN_KEYS * 256), v_tile = k_tile + ATTN_KEYS * 128;
#pragma unroll
        for (int part = 0; part < ATTN_KEYS; part += STEP) {
            const int key = key_begin + stage * ATTN_KEYS + part, row = first_query + warp_row;
            if (WINDOWED && (key > row + 31 + window || key + STEP - 1 < row - window)) continue;

            float s[2][NB][4] = {};
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (WINDOWED) load_queries(k);
#pragma unroll
                for (int n = 0; n < NB; n += 2) {
                    u32 b[4];
                    ldmatrix(b, k_tile + (part + n * 8) * 128 + (key_lane ^ (k << 5)));
#pragma unroll
                    for (int m = 0; m < 2; m++) {
                        mma(s[m][n], q[m][k], b[0], b[1]);
                        mma(s[m][n + 1], q[m][k], b[2], b[3]);
                    }
                }
            }

            const bool inside = key + STEP <= len &&
                                (!WINDOWED || (key >= row + 31 - window && key + STEP - 1 <= row + window));
            if (!inside) {
#pragma unroll
                for (int m = 0; m < 2; m++)
#pragma unroll
                    for (int n = 0; n < NB; n++)
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            const int j = key + n * 8 + (lane & 3) * 2 + (e & 1);
                            const int i = row + m * 16 + (lane >> 2) + (e >> 1) * 8;
                            if (j >= len || (WINDOWED && abs(i - j) > window)) s[m][n][e] = NEG_INF;
                        }
            }
            rows.softmax<WINDOWED>(s);

#pragma unroll
            for (int k = 0; k < STEP / 16; k++) {
                u32 p[2][4];
#pragma unroll
                for (int m = 0; m < 2; m++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        p[m][i] = pack2(s[m][2 * k + i / 2][i % 2 * 2], s[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
                for (int n = 0; n < 8; n += 2) {
                    u32 b[4];
                    ldmatrix_trans(b, v_tile + (part + k * 16) * 128 + (row_lane ^ (n << 4)));
#pragma unroll
                    for (int m = 0; m < 2; m++) {
                        mma(rows.o[m][n], p[m], b[0], b[1]);
                        mma(rows.o[m][n + 1], p[m], b[2], b[3]);
                    }
                }
            }
        }
    }

    // Normalise, and pass through the warp's own rows of the Q tile so that stores are 16 bytes wide.
    __syncwarp();
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = rows.sum[m][half];
            sum += __shfl_xor_sync(FULL_MASK, sum, 1);
            sum += __shfl_xor_sync(FULL_MASK, sum, 2);
            const float inverse = 1.0f / sum;
            const int row = warp_row + m * 16 + half * 8 + (lane >> 2);
#pragma unroll
            for (int n = 0; n < 8; n++)
                *(u32*)(shared + row * 128 + ((n ^ (row & 7)) << 4) + (lane & 3) * 4) =
                    pack2(rows.o[m][n][2 * half] * inverse, rows.o[m][n][2 * half + 1] * inverse);
        }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = warp_row + i * 4 + (lane >> 3), chunk = lane & 7;
        if (first_query + row < len)
            *(uint4*)(out + (u64)(work.x + first_query + row) * hidden + head * 64 + chunk * 8) =
                *(const uint4*)(shared + row * 128 + ((chunk ^ (row & 7)) << 4));
    }
}

extern "C" __global__ void __launch_bounds__(ATTN_THREADS, 2)
    attention_full(const elem* qkv, elem* out, const int4* tiles) {
    attend<false>(qkv, out, tiles, 0);
}

extern "C" __global__ void __launch_bounds__(ATTN_THREADS, 3)
    attention_window(const elem* qkv, elem* out, const int4* tiles, int window) {
    attend<true>(qkv, out, tiles, window);
}
