// Runs of small kernels as one, for a single token, whose launches would cost more than their work. Arithmetic and its order
// are those of the single kernels and every value in between is written too, so that nothing after can tell the difference.
#include "common.cuh"
#include "gates.cuh"
#include "infinity.cuh"
#include "order.cuh"
#include "q8.cuh"

// sum = x + z (z 0: x itself is normed), y = RMS norm of the sum times weight (0: none), and y in 8 bits (q 0: not). With parts
// (not 0) x is first made of them, as multi_add does: the sum over slots of parts[slot] * w[slot]. One block; y may lie where x or
// z did: they are read before the block's threads meet.
KERNEL(add_norm, const char* parts, const float* w, i64 slots, i64 slot_step, float* x, const float* z, float* sum, float* y,
       const float* weight, i64 n, float eps, i8* q, Q8* s) {
    __shared__ float part[32];
    float squares = 0;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
        if (parts) {
            float all = 0;
            for (i64 e = 0; e < slots; ++e) {
                const float v = *(const float*)(parts + e * slot_step + 4 * j);
                all += w ? w[e] * v : v;
            }
            x[j] = all;
        }
        float v = x[j];
        if (z) sum[j] = v = v + z[j];
        squares += v * v;
    }
    const float* a = z ? sum : x;
    const float scale = 1.0f / sqrtf(block_sum(squares, part) / n + eps);
    if (!q) {
        for (i64 j = threadIdx.x; j < n; j += blockDim.x) y[j] = a[j] * scale * (weight ? weight[j] : 1.0f);
        return;
    }
    for (i64 first = 0; first < n / 4; first += blockDim.x) {  // whole warps, as the shuffles want
        const i64 j = first + threadIdx.x;
        const bool inside = 4 * j < n;
        float v[4];
        for (int c = 0; c < 4; ++c) v[c] = inside ? a[4 * j + c] * scale * (weight ? weight[4 * j + c] : 1.0f) : 0.0f;
        for (int c = 0; c < 4; ++c)
            if (inside) y[4 * j + c] = v[c];
        q8_store(v, inside, j, q, s);
    }
}

// A head's row: its RMS norm times weight (normed 0: not), then rotary positions as in rope. All threads of a block.
DEVICE void norm_and_turn(const float* x, float* normed, const float* weight, float* y, i64 size, float eps, i64 n_rot, i64 mode,
                          const float* turns, float* part) {
    if (normed) {
        float squares = 0;
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) squares += x[j] * x[j];
        const float scale = 1.0f / sqrtf(block_sum(squares, part) / size + eps);
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) normed[j] = x[j] * scale * (weight ? weight[j] : 1.0f);
        __syncthreads();
        x = normed;
    }
    const i64 half = n_rot / 2;
    for (i64 j = threadIdx.x; j < half + size - n_rot; j += blockDim.x) {
        if (j >= half) {
            y[n_rot + j - half] = x[n_rot + j - half];
            continue;
        }
        const i64 first = mode == 0 ? 2 * j : j, second = mode == 0 ? 2 * j + 1 : j + half;
        const float c = turns[j * 2], s = turns[j * 2 + 1], p = x[first], q = x[second];
        y[first] = p * c - q * s;
        y[second] = p * s + q * c;
    }
    __syncthreads();
}

// A float32 as type kind: 0 f32, 1 f16, 2 bf16.
DEVICE void put(char* y, int kind, float v) {
    if (kind == 0) *(float*)y = v;
    else *(u16*)y = kind == 1 ? float_to_half(v) : float_to_bf16(v);
}

// What attention begins with, for one token: Q and K normed (normed 0: not) and turned, K and V stored into the cache. A block
// per head of Q, then of K, then blocks that share v_count values of V. Number i of K or V goes to column i % row, row i / row
// of cells with strides 0 and 1, `_past` bytes later per position (cells 0: nowhere). Bytes between rows: b of x, nb of normed
// values, yb of y.
KERNEL(turn_and_store, const char* q, char* q_normed, const float* q_weight, char* q_y, i64 q_heads, i64 q_b, i64 q_nb, i64 q_yb,
       float q_eps, const char* k, char* k_normed, const float* k_weight, char* k_y, i64 k_heads, i64 k_b, i64 k_nb, i64 k_yb,
       float k_eps, i64 size, i64 n_rot, i64 mode, const float* turns, char* k_cells, i64 k_kind, i64 k_row, i64 k0, i64 k1,
       i64 k_past, const char* v, i64 v_count, i64 v_b0, i64 v_b1, char* v_cells, i64 v_kind, i64 v_row, i64 v0, i64 v1,
       i64 v_past, const i64* past) {
    __shared__ float part[32];
    i64 h = blockIdx.x;
    if (h < q_heads) {
        norm_and_turn((const float*)(q + h * q_b), q_normed ? (float*)(q_normed + h * q_nb) : 0, q_weight,
                      (float*)(q_y + h * q_yb), size, q_eps, n_rot, mode, turns, part);
        return;
    }
    h -= q_heads;
    if (h < k_heads) {
        const float* y = (const float*)(k_y + h * k_yb);
        norm_and_turn((const float*)(k + h * k_b), k_normed ? (float*)(k_normed + h * k_nb) : 0, k_weight, (float*)y, size,
                      k_eps, n_rot, mode, turns, part);
        if (!k_cells) return;
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const i64 i = h * size + j;
            put(k_cells + i % k_row * k0 + i / k_row * k1 + past[0] * k_past, (int)k_kind, y[j]);
        }
        return;
    }
    const i64 i = (h - k_heads) * blockDim.x + threadIdx.x;
    if (i >= v_count) return;
    const float x = *(const float*)(v + i % v_row * v_b0 + i / v_row * v_b1);
    put(v_cells + i % v_row * v0 + i / v_row * v1 + past[0] * v_past, (int)v_kind, x);
}

// The router's choice for one token: probabilities p[n] of x, order[n] of experts in falling order (as argsort, least and part
// too), w[used] of the first, and where normed is not 0 their sum and w over it. One block.
KERNEL(route, const float* x, float* p, int* order, float* w, float* sum, float* normed, i64 n, i64 used, float factor, i64
       least, float least_part) {
    __shared__ float part[32];
    float top = -INFINITY;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) top = fmaxf(top, x[j] * factor);
    top = block_max(top, part);
    float total = 0;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
        const float e = expf(x[j] * factor - top);
        p[j] = e;
        total += e;
    }
    const float inverse = 1.0f / block_sum(total, part);
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) p[j] *= inverse;
    __syncthreads();
    falling_order(p, order, n, least, least_part);
    __syncthreads();
    float chosen = 0;
    for (i64 j = threadIdx.x; j < used; j += blockDim.x) {
        const float v = order[j] < 0 ? 0.0f : p[order[j]];
        w[j] = v;
        chosen += v;
    }
    if (!normed) return;
    chosen = block_sum(chosen, part);
    if (threadIdx.x == 0) sum[0] = chosen;
    for (i64 j = threadIdx.x; j < used; j += blockDim.x) normed[j] = w[j] / chosen;
}

// gated of ops_elements, and its rows [rows, n] in 8 bits. A thread takes four values.
KERNEL(gated_q8, const char* gate, const char* up, float* y, i64 n, i64 rows, i64 gate_step, i64 up_step, i64 kind, const char*
       gate_bias, const char* up_bias, i64 bias_step, const char* ids, i64 ids_step, i64 slots, i8* q, Q8* s) {
    const i64 j = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const bool inside = 4 * j < n * rows;
    const i64 row = 4 * j / n, column = 4 * j % n;
    float v[4] = {0, 0, 0, 0};
    for (int c = 0; c < 4 && inside; ++c) {
        const i64 at = 4 * (column + c);
        float a = *(const float*)(gate + row * gate_step + at), b = *(const float*)(up + row * up_step + at);
        if (ids) {
            const i64 id = *(const int*)(ids + row / slots * ids_step + row % slots * 4);
            a += *(const float*)(gate_bias + id * bias_step + at);
            b += *(const float*)(up_bias + id * bias_step + at);
        }
        v[c] = gated_value((int)kind, a, b);
        y[4 * j + c] = v[c];
    }
    q8_store(v, inside, j, q, s);
}

// merge_parts of ops_attention for one token, and its row [heads * dv] in 8 bits. Grid: heads. A thread takes four columns.
KERNEL(merge_q8, const float* parts, float* y, i64 n_parts, i64 dv, i64 heads, const float* sinks, i8* q, Q8* s) {
    const float* from = parts + (i64)blockIdx.x * n_parts * (dv + 2);
    float top = sinks ? sinks[blockIdx.x] : -INFINITY;
    for (i64 i = 0; i < n_parts; ++i) top = fmaxf(top, from[i * (dv + 2)]);
    float sum = sinks ? expf(sinks[blockIdx.x] - top) : 0.0f;
    for (i64 i = 0; i < n_parts; ++i)
        if (from[i * (dv + 2) + 1] > 0) sum += from[i * (dv + 2) + 1] * expf(from[i * (dv + 2)] - top);
    for (i64 first = 0; first < dv / 4; first += blockDim.x) {
        const i64 j = first + threadIdx.x;
        const bool inside = 4 * j < dv;
        float v[4] = {0, 0, 0, 0};
        for (i64 i = 0; i < n_parts && inside; ++i) {
            if (!(from[i * (dv + 2) + 1] > 0)) continue;
            const float factor = expf(from[i * (dv + 2)] - top);
            for (int c = 0; c < 4; ++c) v[c] += from[i * (dv + 2) + 2 + 4 * j + c] * factor;
        }
        for (int c = 0; c < 4 && inside; ++c) y[blockIdx.x * dv + 4 * j + c] = v[c] = v[c] / sum;
        q8_store(v, inside, j, q + blockIdx.x * dv, s + blockIdx.x * (dv / 32));
    }
}
