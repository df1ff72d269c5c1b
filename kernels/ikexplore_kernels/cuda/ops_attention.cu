// Attention over the cache: flash attention with an online softmax, and the two products of attention without it.
// What a token may see follows from its position: no mask is read. Types of cached rows: 0 f32, 1 f16, 2 bf16, 4 q8_0.
#include "common.cuh"
#include "infinity.cuh"

#define TILE 128   // positions per step, and threads of a block
#define QUERIES 8  // queries that a block works on together

// Column j of a row of cached values.
DEVICE float cached(const char* row, i64 j, int kind) {
    if (kind == 1) return half_to_float(((const unsigned short*)row)[j]);
    if (kind == 0) return ((const float*)row)[j];
    if (kind == 2) return bf16_to_float(((const unsigned short*)row)[j]);
    const char* block = row + j / 32 * 34;
    return half_to_float(*(const unsigned short*)block) * (float)((const signed char*)block)[2 + j % 32];
}

// Grid: (groups of QUERIES queries of a head of K, heads of K, parts of the positions). A query is a token and one of the
// `group` heads that share a head of K. out: parts of [m, l, acc[dv]] per (query, part) for merge_parts.
KERNEL(flash_attention, const char* q, const char* k, const char* v, float* out, i64 kind_k, i64 kind_v, i64 dk, i64 dv, i64
       tokens, i64 group, i64 qb1, i64 qb2, i64 kb1, i64 kb2, i64 vb1, i64 vb2, float scale, const i64* past, i64 window) {
    SHARED_BYTES(bytes);
    float* qs = (float*)bytes;              // [QUERIES][dk]
    float* score = qs + QUERIES * dk;    // [QUERIES][TILE]
    float* state = score + QUERIES * TILE;  // [QUERIES][3]: maximum, sum, factor for what was added before
    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    const i64 head = blockIdx.y, first_query = (i64)blockIdx.x * QUERIES, all = tokens * group;
    const int n = all - first_query < QUERIES ? (int)(all - first_query) : QUERIES;
    k += head * kb2;
    v += head * vb2;
    for (i64 i = t; i < n * dk; i += TILE) {
        const i64 query = first_query + i / dk;
        qs[i] = *(const float*)(q + query / group * qb1 + (head * group + query % group) * qb2 + i % dk * 4) * scale;
    }
    if (t < QUERIES) {
        state[3 * t] = -INFINITY;
        state[3 * t + 1] = 0;
    }
    float sum[QUERIES][4];
    for (int r = 0; r < QUERIES; ++r)
        for (int c = 0; c < 4; ++c) sum[r][c] = 0;
    // positions that any of the queries sees, cut into tiles, shared out over the parts
    const i64 end = past[0] + (first_query + n - 1) / group + 1;
    i64 begin = window ? past[0] + first_query / group + 1 - window : 0;
    begin = begin < 0 ? 0 : begin / TILE * TILE;
    for (i64 at = begin + (i64)blockIdx.z * TILE; at < end; at += (i64)gridDim.z * TILE) {
        __syncthreads();
        const i64 p = at + t;
        for (int r = 0; r < n; ++r) score[r * TILE + t] = 0;
        if (p < end) {
            const char* row = k + p * kb1;
            float dot[QUERIES];
            for (int r = 0; r < QUERIES; ++r) dot[r] = 0;
            for (i64 j = 0; j < dk; ++j) {
                const float x = cached(row, j, (int)kind_k);
#pragma unroll
                for (int r = 0; r < QUERIES; ++r)
                    if (r < n) dot[r] = fma_rn(qs[r * dk + j], x, dot[r]);
            }
#pragma unroll
            for (int r = 0; r < QUERIES; ++r)
                if (r < n) score[r * TILE + t] = dot[r];
        }
        __syncthreads();
        for (int r = warp; r < n; r += TILE / 32) {
            const i64 seen = past[0] + (first_query + r) / group + 1;
            float top = -INFINITY;
            for (int j = lane; j < TILE; j += 32) {
                const bool in = at + j < seen && (!window || at + j >= seen - window);
                if (!in) score[r * TILE + j] = -INFINITY;
                top = fmaxf(top, score[r * TILE + j]);
            }
            top = fmaxf(lanes_max(top), state[3 * r]);
            float total = 0;
            for (int j = lane; j < TILE; j += 32) {
                const float e = top == -INFINITY ? 0.0f : expf(score[r * TILE + j] - top);
                score[r * TILE + j] = e;
                total += e;
            }
            total = lanes_sum(total);
            if (lane == 0) {
                const float factor = top == -INFINITY ? 1.0f : expf(state[3 * r] - top);
                state[3 * r] = top;
                state[3 * r + 1] = state[3 * r + 1] * factor + total;
                state[3 * r + 2] = factor;
            }
        }
        __syncthreads();
        const int many = end - at < TILE ? (int)(end - at) : TILE;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const i64 j = t + c * TILE;
            if (j >= dv) continue;
#pragma unroll
            for (int r = 0; r < QUERIES; ++r)
                if (r < n) sum[r][c] *= state[3 * r + 2];
            for (int i = 0; i < many; ++i) {
                const float x = cached(v + (at + i) * vb1, j, (int)kind_v);
#pragma unroll
                for (int r = 0; r < QUERIES; ++r)
                    if (r < n) sum[r][c] = fma_rn(score[r * TILE + i], x, sum[r][c]);
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < QUERIES; ++r) {
        if (r >= n) continue;
        const i64 query = first_query + r;
        const i64 place = (query / group * (gridDim.y * group) + head * group + query % group) * gridDim.z + blockIdx.z;
        float* to = out + place * (dv + 2);
        if (t == 0) {
            to[0] = state[3 * r];
            to[1] = state[3 * r + 1];
        }
#pragma unroll
        for (int c = 0; c < 4; ++c)
            if (t + c * TILE < dv) to[2 + t + c * TILE] = sum[r][c];
    }
}

// y[token, head] from its parts; a head's sink takes part in the sum and gives nothing. Grid: tokens * heads.
KERNEL(merge_parts, const float* parts, float* y, i64 n_parts, i64 dv, i64 heads, const float* sinks) {
    const float* from = parts + (i64)blockIdx.x * n_parts * (dv + 2);
    float top = sinks ? sinks[blockIdx.x % heads] : -INFINITY;
    for (i64 i = 0; i < n_parts; ++i) top = fmaxf(top, from[i * (dv + 2)]);
    float sum = sinks ? expf(sinks[blockIdx.x % heads] - top) : 0.0f;
    for (i64 i = 0; i < n_parts; ++i)
        if (from[i * (dv + 2) + 1] > 0) sum += from[i * (dv + 2) + 1] * expf(from[i * (dv + 2)] - top);
    for (i64 j = threadIdx.x; j < dv; j += blockDim.x) {
        float v = 0;
        for (i64 i = 0; i < n_parts; ++i)
            if (from[i * (dv + 2) + 1] > 0) v += from[i * (dv + 2) + 2 + j] * expf(from[i * (dv + 2)] - top);
        y[blockIdx.x * dv + j] = v / sum;
    }
}

// y[m, n, h] = sum over k of a[k, m, h / group] * b[k, n, h], float32 b: the products of attention without -fa. Rows of a from
// `seen` positions on are not computed where they are positions (over 0), and k ends there where k are positions (over 1).
KERNEL(strided_product, const char* a, const char* b, char* y, i64 kind, i64 k, i64 m, i64 n, i64 heads, i64 group, i64 ab1,
       i64 ab2, i64 bb1, i64 bb2, i64 yb1, i64 yb2, const i64* past, i64 over) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n * heads) return;
    const i64 row = i % m, column = i / m % n, head = i / (m * n);
    float* to = (float*)(y + column * yb1 + head * yb2) + row;
    const i64 seen = past ? past[1] : 0;
    if (past && over == 0 && row >= seen) {
        *to = 0;
        return;
    }
    const i64 end = past && over == 1 && seen < k ? seen : k;
    const char* x = a + row * ab1 + head / group * ab2;
    const float* z = (const float*)(b + column * bb1 + head * bb2);
    float sum = 0;
    for (i64 j = 0; j < end; ++j) sum = fma_rn(cached(x, j, (int)kind), z[j], sum);
    *to = sum;
}
