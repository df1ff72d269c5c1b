// What all quant types share: pieces to unpack codes with, and the kernels that every type gets.
//
// A type is a struct with its sizes (made from the registry), a few constants, and `unpack`, which gives 32 weights of a
// row: weight = s * code - m, with s0, m0 for the first 16 columns and s1, m1 for the others. A dense type has `value`.
#include "common.cuh"
#include "q8.cuh"

struct Part {
    u32 q[8];              // codes, signed bytes: four columns a word
    float s0, s1, m0, m1;  // m is read where has_min, s1 and m1 where halves
};

// What a type may say otherwise.
struct Quant {
    static constexpr bool dense = false;
    static constexpr bool halves = false;   // do 16 columns share a scale, and not 32?
    static constexpr bool has_min = false;  // is a minimum subtracted?
    static constexpr bool floats = false;   // are its values no integers? then it has `weights`, for decode
};

// The block that holds columns 32 b...; `w` is where the row, or the group of interleaved rows, starts.
template <class F> DEVICE const u8* block_of(const u8* w, int b) {
    constexpr int parts = F::block / 32;
    return w + F::meta * F::rows + (u64)((u32)b / parts) * (u32)(F::bytes * F::rows);
}

DEVICE void one_scale(Part& o, float s) { o.s0 = o.s1 = s; }

// ------------------------------------------------------------------------------------------------ pieces of unpack

// Bytes below 128 minus n <= 128.
DEVICE u32 minus(u32 v, u32 n) { return ((v | 0x80808080u) - n * 0x01010101u) ^ 0x80808080u; }

DEVICE void all_minus(u32* q, u32 n) {
    for (int j = 0; j < 8; j++) q[j] = minus(q[j], n);
}

// Four low bits -> the lowest bit of each byte.
DEVICE u32 spread(u32 bits) { return (bits & 15) * 0x00204081u & 0x01010101u; }

// 0 or 1 in each byte -> 0 or 255.
DEVICE u32 mask_of(u32 ones) { return ones * 255; }

// 16 bytes: columns 0..15 in the low nibbles, the others in the high ones.
DEVICE void nibbles(u32* q, const u32* t) {
    for (int j = 0; j < 4; j++) {
        q[j] = t[j] & 0x0f0f0f0fu;
        q[j + 4] = t[j] >> 4 & 0x0f0f0f0fu;
    }
}

// The word of most _R4 types that has column quad j in it, 0..3, and whether in its high nibbles: quads 0 2, 4 6, 1 3, 5 7.
template <int A> DEVICE void rows4_words(u32* t, const u8* p, int r) {
    for (int k = 0; k < 4; k++) t[k] = load32<A>(p + 16 * k + 4 * r);
}

DEVICE int rows4_first(int k) { return (k & 1) * 4 + (k >> 1); }

DEVICE void rows4(u32* q, const u8* p, int r) {
    for (int k = 0; k < 4; k++) {
        u32 t = load32<8>(p + 16 * k + 4 * r);
        q[rows4_first(k)] = t & 0x0f0f0f0fu;
        q[rows4_first(k) + 2] = t >> 4 & 0x0f0f0f0fu;
    }
}

// 8 words: `shift`ed right and masked in every byte.
template <int A> DEVICE void bits_of(u32* q, const u8* p, int shift, u32 mask) {
    u32 t[8];
    load_words<A, 8>(p, t);
    for (int j = 0; j < 8; j++) q[j] = t[j] >> shift & mask * 0x01010101u;
}

template <int A> DEVICE void add_bits(u32* q, const u8* p, int shift, u32 mask, int to) {
    u32 t[8];
    load_words<A, 8>(p, t);
    for (int j = 0; j < 8; j++) q[j] |= (t[j] >> shift & mask * 0x01010101u) << to;
}

DEVICE int nibble_at(const u8* p, int k) { return p[k >> 1] >> (k & 1) * 4 & 15; }

// ---- tables: four indices in the bytes of v -> four bytes of T, 8 entries (two words) a permutation

template <class T> DEVICE u32 look_up(u32 v) {
    u32 s = v & 0x07070707u;
    s = __byte_perm(s | s >> 4, 0, 0x4420);
    u32 found[(T::words + 1) / 2];
    for (int k = 0; k < T::words / 2; k++) found[k] = __byte_perm(T::word(2 * k), T::word(2 * k + 1), s);
    int bit = 3;
    for (int n = T::words / 2; n > 1; n /= 2, bit++) {
        u32 second = mask_of(v >> bit & 0x01010101u);
        for (int k = 0; k < n / 2; k++) found[k] = found[2 * k] ^ ((found[2 * k] ^ found[2 * k + 1]) & second);
    }
    return found[0];
}

// 8 nibbles of a word -> the entries of the low nibbles and those of the high ones; T has 16.
template <class T> DEVICE void look_up_nibbles(u32 v, u32& low, u32& high) {
    u32 index = v & 0x77777777u, second = 0x32103210u | (v & 0x88888888u) >> 1;
    u32 a0 = __byte_perm(T::word(0), T::word(1), index), b0 = __byte_perm(T::word(2), T::word(3), index);
    u32 a1 = __byte_perm(T::word(0), T::word(1), index >> 16), b1 = __byte_perm(T::word(2), T::word(3), index >> 16);
    a0 = __byte_perm(a0, b0, second), a1 = __byte_perm(a1, b1, second >> 16);
    low = __byte_perm(a0, a1, 0x6420);
    high = __byte_perm(a0, a1, 0x7531);
}

template <class T> DEVICE void table_nibbles(u32* q, const u32* t) {
    for (int j = 0; j < 4; j++) look_up_nibbles<T>(t[j], q[j], q[j + 4]);
}

template <class T> DEVICE void table_rows4(u32* q, const u8* p, int r) {
    for (int k = 0; k < 4; k++) {
        int j = rows4_first(k);
        look_up_nibbles<T>(load32<8>(p + 16 * k + 4 * r), q[j], q[j + 2]);
    }
}

template <class T> DEVICE void table_bytes(u32* q) {
    for (int j = 0; j < 8; j++) q[j] = look_up<T>(q[j]);
}

template <class T> DEVICE int table_at(int i) { return (i8)(look_up<T>((u32)i) & 255); }

// Entries of a Biased table -> signed ones, plus a number for each half.
DEVICE void shift_values(u32* q, u32 first, u32 second) {
    for (int j = 0; j < 8; j++) q[j] = (q[j] + (j < 4 ? first : second) * 0x01010101u) ^ 0x80808080u;
}

// ------------------------------------------------------------------------------------------------------- decode

template <class F> DEVICE void weights_of(float* v, const u8* w, int r, int b, bool product) {
    if constexpr (F::floats) {
        if (!product) return F::weights(v, w, r, b);
    }
    Part p;
    F::unpack(p, w, r, b, product);
    for (int c = 0; c < 32; c++) {
        float s = !F::halves || c < 16 ? p.s0 : p.s1;
        v[c] = s * (float)(i8)(p.q[c >> 2] >> (c & 3) * 8 & 255);
        if constexpr (F::has_min) v[c] -= !F::halves || c < 16 ? p.m0 : p.m1;
    }
}

DEVICE void store_32(float* to, const float* v) {
    ALIGNED(to, 16);
    for (int c = 0; c < 32; c += 4) ((float4*)to)[c / 4] = make_float4(v[c], v[c + 1], v[c + 2], v[c + 3]);
}

DEVICE void store_32(u16* to, const float* v) {
    ALIGNED(to, 16);
    u32 t[16];
    for (int c = 0; c < 16; c++) t[c] = float_to_half(v[2 * c]) | (u32)float_to_half(v[2 * c + 1]) << 16;
    for (int c = 0; c < 16; c += 4) ((uint4*)to)[c / 4] = make_uint4(t[c], t[c + 1], t[c + 2], t[c + 3]);
}

DEVICE void store_one(float* to, float v) { *to = v; }
DEVICE void store_one(u16* to, float v) { *to = float_to_half(v); }

template <class F> DEVICE i64 row_bytes(i64 cols) { return F::meta + cols / F::block * F::bytes; }

// A thread decodes 32 columns (of a dense type: one). Row i comes from row ids[i], or i without ids.
template <class F, class Out>
DEVICE void decode(const u8* w, const int* ids, Out* to, i64 rows, i64 cols, i64 stride, bool product) {
    constexpr int each = F::dense ? 1 : 32;
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x, parts = cols / each;
    if (i >= rows * parts) return;
    i64 row, b;
    if (ids || F::rows == 1) {
        row = i / parts, b = i % parts;
    } else {  // neighbours read neighbouring rows of a group
        i64 group = i / (parts * F::rows), rest = i % (parts * F::rows);
        row = group * F::rows + rest % F::rows, b = rest / F::rows;
    }
    i64 from = ids ? ids[row] : row;
    const u8* start = w + from / F::rows * F::rows * row_bytes<F>(cols);
    int r = (int)(from % F::rows);
    to += row * stride + b * each;
    if constexpr (F::dense) {
        store_one(to, F::value(start, r, b));
    } else {
        float v[32];
        weights_of<F>(v, start, r, (int)b, product);
        store_32(to, v);
    }
}

// ------------------------------------------------------------------------------------------------------ products

// 32 weights times 32 activations.
template <class F> DEVICE float part_dot(const Part& p, const i8* x, Q8 scale) {
    u32 v[8];
    load_words<16, 8>((const u8*)x, v);
    int first = 0, second = 0;
    for (int j = 0; j < 4; j++) {
        first = dot4((int)p.q[j], (int)v[j], first);
        second = dot4((int)p.q[j + 4], (int)v[j + 4], second);
    }
    if constexpr (!F::halves) {
        float y = p.s0 * (float)(first + second) * scale.d;
        if constexpr (F::has_min) y -= p.m0 * scale.sum;
        return y;
    } else {
        float y = fma_rn(p.s1, (float)second, p.s0 * (float)first);
        if constexpr (F::has_min) {
            int sum0 = 0, sum1 = 0;
            for (int j = 0; j < 4; j++) {
                sum0 = dot4(0x01010101, (int)v[j], sum0);
                sum1 = dot4(0x01010101, (int)v[j + 4], sum1);
            }
            y -= fma_rn(p.m1, (float)sum1, p.m0 * (float)sum0);
        }
        return y * scale.d;
    }
}

// Sums of a row over the warps that share it (threadIdx.y), of all columns; true in the threads that then have them:
// the first F::rows lanes of the first warp.
template <int ROWS, int COLS> DEVICE bool row_sums(float* sum) {
    __shared__ float kept[8 * ROWS * COLS];
    for (int c = 0; c < COLS; c++) sum[c] = lanes_sum(sum[c], 32, ROWS);
    if (blockDim.y == 1) return threadIdx.x < ROWS;
    float* mine = kept + threadIdx.z * blockDim.y * ROWS * COLS;
    if (threadIdx.x < ROWS)
        for (int c = 0; c < COLS; c++) mine[(threadIdx.y * COLS + c) * ROWS + threadIdx.x] = sum[c];
    __syncthreads();
    if (threadIdx.y || threadIdx.x >= ROWS) return false;
    for (int c = 0; c < COLS; c++) {
        sum[c] = 0;
        for (int k = 0; k < blockDim.y; k++) sum[c] += mine[(k * COLS + c) * ROWS + threadIdx.x];
    }
    return true;
}

// y[c][rows] = w . x[c] for n <= COLS columns. Block (32, k, z), at most 8 warps: k warps share a row (a group of
// interleaved rows), z rows or groups a block.
template <class F, int COLS>
DEVICE void gemv(const u8* w, const i8* q, const Q8* s, float* y, int rows, i64 cols, i64 stride, int n) {
    constexpr int R = F::rows, lanes = 32 / R;
    int r = threadIdx.x % R, blocks = (int)(cols / 32);
    i64 group = (i64)blockIdx.x * blockDim.z + threadIdx.z;
    float sum[COLS] = {};
    if (group * R < rows) {
        const u8* start = w + group * R * row_bytes<F>(cols);
        for (int b = threadIdx.x / R + lanes * threadIdx.y; b < blocks; b += lanes * blockDim.y) {
            Part p;
            F::unpack(p, start, r, b, true);
            for (int c = 0; c < COLS; c++)
                if (COLS == 1 || c < n) sum[c] += part_dot<F>(p, q + c * cols + b * 32, s[(i64)c * blocks + b]);
        }
    }
    if (!row_sums<R, COLS>(sum) || group * R >= rows) return;
    for (int c = 0; c < COLS; c++)
        if (COLS == 1 || c < n) y[c * stride + group * R + r] = sum[c];
}

// STEP columns of a row from b on times activations; the weights are loaded before any is used.
template <class F, int STEP, int COLS>
DEVICE void dense_dot(float* sum, const u8* w, int r, i64 b, const float* x, i64 cols, int n) {
    float v[STEP];
    if constexpr (STEP == 1) {
        v[0] = F::value(w, r, b);
    } else {
        for (int i = 0; i < STEP; i += 2) {
            float2 both = F::pair(w, r, b + i);
            v[i] = both.x, v[i + 1] = both.y;
        }
    }
    for (int c = 0; c < COLS; c++)
        if (COLS == 1 || c < n) {
            u32 at[STEP];
            load_words<STEP == 8 ? 16 : 4, STEP>((const u8*)(x + c * cols + b), at);
            for (int i = 0; i < STEP; i++) sum[c] = fma_rn(v[i], __uint_as_float(at[i]), sum[c]);
        }
}

template <class F, int STEP, int COLS>
DEVICE void dense_row(float* sum, const u8* w, int r, const float* x, i64 cols, int n) {
    constexpr int lanes = 32 / F::rows;
    for (i64 b = STEP * (threadIdx.x / F::rows + lanes * threadIdx.y); b < cols; b += STEP * lanes * blockDim.y)
        dense_dot<F, STEP, COLS>(sum, w, r, b, x, cols, n);
}

// The same for a dense type, with float32 activations x[c][cols]; rows of x start at multiples of 16 bytes where cols is
// one of 8.
template <class F, int COLS>
DEVICE void gemv_dense(const u8* w, const float* x, float* y, int rows, i64 cols, i64 stride, int n) {
    constexpr int R = F::rows;
    int r = threadIdx.x % R;
    i64 group = (i64)blockIdx.x * blockDim.z + threadIdx.z;
    float sum[COLS] = {};
    if (group * R < rows) {
        const u8* start = w + group * R * row_bytes<F>(cols);
        if (cols % 8 == 0) {
            dense_row<F, 8, COLS>(sum, start, r, x, cols, n);
        } else if (cols % 2 == 0) {
            dense_row<F, 2, COLS>(sum, start, r, x, cols, n);
        } else {
            dense_row<F, 1, COLS>(sum, start, r, x, cols, n);
        }
    }
    if (!row_sums<R, COLS>(sum) || group * R >= rows) return;
    for (int c = 0; c < COLS; c++)
        if (COLS == 1 || c < n) y[c * stride + group * R + r] = sum[c];
}

// Column blockIdx.y = (token, slot) with the weights of expert ids[blockIdx.y]; every token has `used` slots and
// `x_rows` rows of x (1 or used). An id below 0 gives zeros.
struct Chosen {
    const u8* w;
    i64 x_row;
    bool none;
};

DEVICE Chosen chosen(const u8* w, const int* ids, i64 expert_bytes, int used, int x_rows) {
    int id = ids ? ids[blockIdx.y] : 0;
    i64 token = blockIdx.y / used, slot = blockIdx.y % used;
    return {w + (id > 0 ? id : 0) * expert_bytes, ids ? token * x_rows + slot % x_rows : blockIdx.y, id < 0};
}

DEVICE void zero_rows(float* y, int rows, int R) {
    i64 row = ((i64)blockIdx.x * blockDim.z + threadIdx.z) * R + threadIdx.x;
    if (threadIdx.y == 0 && threadIdx.x < R && row < rows) y[row] = 0;
}

// ---- the kernels of a type; source pointers are at least 32-byte aligned, dst and rows of it 16-byte aligned
//
// decode_T       weights as decode() gives them, float32
// decode_half_T  weights as products take them, half
// gemv_T         one column, or with ids one column per (token, slot)
// gemv_many_T    n = 2..8 columns

#define KERNELS_DECODE(T)                                                                                        \
    KERNEL(decode_##T, const u8* w, const int* ids, float* to, i64 rows, i64 cols, i64 stride) {                 \
        decode<T>(w, ids, to, rows, cols, stride, false);                                                        \
    }                                                                                                            \
    KERNEL(decode_half_##T, const u8* w, const int* ids, u16* to, i64 rows, i64 cols, i64 stride) {              \
        decode<T>(w, ids, to, rows, cols, stride, true);                                                         \
    }

#define KERNELS(T)                                                                                               \
    KERNELS_DECODE(T)                                                                                            \
    KERNEL(gemv_##T, const u8* w, const i8* q, const Q8* s, float* y, int rows, i64 cols, i64 stride,            \
           const int* ids, i64 expert_bytes, int used, int x_rows) {                                             \
        Chosen at = chosen(w, ids, expert_bytes, used, x_rows);                                                  \
        y += blockIdx.y * stride;                                                                                \
        if (at.none) return zero_rows(y, rows, T::rows);                                                         \
        gemv<T, 1>(at.w, q + at.x_row * cols, s + at.x_row * (cols / 32), y, rows, cols, 0, 1);                  \
    }                                                                                                            \
    KERNEL(gemv_many_##T, const u8* w, const i8* q, const Q8* s, float* y, int rows, i64 cols, i64 stride, int n) { \
        gemv<T, 8>(w, q, s, y, rows, cols, stride, n);                                                           \
    }

#define KERNELS_DENSE(T)                                                                                         \
    KERNELS_DECODE(T)                                                                                            \
    KERNEL(gemv_##T, const u8* w, const float* x, float* y, int rows, i64 cols, i64 stride, const int* ids,      \
           i64 expert_bytes, int used, int x_rows) {                                                             \
        Chosen at = chosen(w, ids, expert_bytes, used, x_rows);                                                  \
        y += blockIdx.y * stride;                                                                                \
        if (at.none) return zero_rows(y, rows, T::rows);                                                         \
        gemv_dense<T, 1>(at.w, x + at.x_row * cols, y, rows, cols, 0, 1);                                        \
    }                                                                                                            \
    KERNEL(gemv_many_##T, const u8* w, const float* x, float* y, int rows, i64 cols, i64 stride, int n) {        \
        gemv_dense<T, 8>(w, x, y, rows, cols, stride, n);                                                        \
    }
