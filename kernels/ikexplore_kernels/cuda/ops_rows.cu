// What works on whole rows: norms, softmax, sums, rotation, Hadamard. A block takes a row; sums go over warps of 32.
#include "common.cuh"
#include "infinity.cuh"

// y = x / sqrt(mean(x^2) + eps) * weight (weight may be 0). Grid: rows; dimension 1 has ne1 rows.
KERNEL(rms_norm, const char* x, char* y, const float* weight, i64 n, i64 ne1, i64 xb1, i64 xb2, i64 yb1, i64 yb2, float eps)
       {
    __shared__ float part[32];
    const i64 i = blockIdx.x;
    const float* a = (const float*)(x + i % ne1 * xb1 + i / ne1 * xb2);
    float* b = (float*)(y + i % ne1 * yb1 + i / ne1 * yb2);
    float sum = 0;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) sum += a[j] * a[j];
    const float scale = 1.0f / sqrtf(block_sum(sum, part) / n + eps);
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) b[j] = a[j] * scale * (weight ? weight[j] : 1.0f);
}

// y = (x - mean) / sqrt(variance + eps) * weight (weight may be 0).
KERNEL(layer_norm, const char* x, char* y, const float* weight, i64 n, i64 ne1, i64 xb1, i64 xb2, i64 yb1, i64 yb2, float eps) {
    __shared__ float part[32];
    const i64 i = blockIdx.x;
    const float* a = (const float*)(x + i % ne1 * xb1 + i / ne1 * xb2);
    float* b = (float*)(y + i % ne1 * yb1 + i / ne1 * yb2);
    float sum = 0, squares = 0;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) sum += a[j];
    const float mean = block_sum(sum, part) / n;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) squares += (a[j] - mean) * (a[j] - mean);
    const float scale = 1.0f / sqrtf(block_sum(squares, part) / n + eps);
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) b[j] = (a[j] - mean) * scale * (weight ? weight[j] : 1.0f);
}

// y = softmax(scale * x) over rows of n. With past: row j of ne1 sees the first past + j + 1 columns, the last `window` of
// them (0: all). sinks: one more score in the sum, per index of dimension 2.
KERNEL(soft_max, const float* x, float* y, i64 n, i64 ne1, float scale, const i64* past, i64 window, const float* sinks) {
    __shared__ float part[32];
    const i64 i = blockIdx.x;
    i64 seen = n;
    if (past && past[0] + i % ne1 + 1 < n) seen = past[0] + i % ne1 + 1;
    const i64 first = window && seen > window ? seen - window : 0;
    x += i * n;
    y += i * n;
    float top = sinks ? sinks[i / ne1] : -INFINITY;
    for (i64 j = first + threadIdx.x; j < seen; j += blockDim.x) top = fmaxf(top, x[j] * scale);
    top = block_max(top, part);
    float sum = 0;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
        const float e = j >= first && j < seen ? expf(x[j] * scale - top) : 0.0f;
        y[j] = e;
        sum += e;
    }
    sum = block_sum(sum, part) + (sinks ? expf(sinks[i / ne1] - top) : 0.0f);
    const float inverse = 1.0f / sum;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) y[j] *= inverse;
}

KERNEL(sum_rows, const float* x, float* y, i64 n) {
    __shared__ float part[32];
    float sum = 0;
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) sum += x[blockIdx.x * n + j];
    sum = block_sum(sum, part);
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

// Rotary positions: pairs (j, j + 1) in mode 0, (j, j + n_rot / 2) in mode 2. turns: (cos, sin) [tokens, n_rot / 2, 2],
// scaled, with frequency factors and YaRN in them. A thread takes a pair, or a column that is not rotated.
KERNEL(rope, const char* x, char* y, i64 size, i64 heads, i64 tokens, i64 xb1, i64 xb2, i64 yb1, i64 yb2, i64 n_rot, i64
       mode, const float* turns) {
    const i64 half = n_rot / 2, per_head = half + size - n_rot;
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= per_head * heads * tokens) return;
    const i64 j = i % per_head, h = i / per_head % heads, t = i / (per_head * heads);
    const float* a = (const float*)(x + h * xb1 + t * xb2);
    float* b = (float*)(y + h * yb1 + t * yb2);
    if (j >= half) {
        b[n_rot + j - half] = a[n_rot + j - half];
        return;
    }
    const i64 first = mode == 0 ? 2 * j : j, second = mode == 0 ? 2 * j + 1 : j + half;
    const float c = turns[(t * half + j) * 2], s = turns[(t * half + j) * 2 + 1], p = a[first], q = a[second];
    b[first] = p * c - q * s;
    b[second] = p * s + q * c;
}

// Each block of columns times the orthonormal Hadamard matrix; a thread block per block of columns, in shared memory.
KERNEL(hadamard, const char* x, float* y, i64 n, i64 ne1, i64 xb1, i64 xb2, i64 size) {
    __shared__ float v[512];
    const i64 blocks = n / size, i = blockIdx.x / blocks, at = blockIdx.x % blocks * size;
    const float* a = (const float*)(x + i % ne1 * xb1 + i / ne1 * xb2) + at;
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) v[j] = a[j] / sqrtf((float)size);
    for (i64 half = 1; half < size; half *= 2) {
        __syncthreads();
        for (i64 p = threadIdx.x; p < size / 2; p += blockDim.x) {
            const i64 j = p / half * 2 * half + p % half;
            const float low = v[j], high = v[j + half];
            v[j] = low + high;
            v[j + half] = low - high;
        }
    }
    __syncthreads();
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) y[i * n + at + j] = v[j];
}

// float32 rows to rows of q8_0 (blocks of 32: half scale, 32 int8). Rows [n, ne1, ne2] at strides xb; y goes on by y_step
// per row and starts per_past bytes later for each earlier position. A thread takes a block.
KERNEL(store_q8_0, const char* x, char* y, i64 n, i64 ne1, i64 ne2, i64 xb1, i64 xb2, i64 y_step, const i64* past, i64
       per_past) {
    const i64 per_row = n / 32, i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= per_row * ne1 * ne2) return;
    const i64 row = i / per_row, b = i % per_row;
    const float* a = (const float*)(x + row % ne1 * xb1 + row / ne1 * xb2) + 32 * b;
    char* to = y + row * y_step + 34 * b + (past ? past[0] * per_past : 0);
    float most = 0;
    for (int j = 0; j < 32; ++j) most = fmaxf(most, fabsf(a[j]));
    const float d = most / 127.0f, inverse = d ? 1.0f / d : 0.0f;
    *(unsigned short*)to = float_to_half(d);
    for (int j = 0; j < 32; ++j) to[2 + j] = (signed char)rintf(a[j] * inverse);
}

// Rows [n, ne1, ne2] of q8_0 as half (to 1) or float32 (to 0). A thread takes a number.
KERNEL(widen_q8_0, const char* x, char* y, i64 to, i64 n, i64 ne1, i64 ne2, i64 xb1, i64 xb2, i64 yb1, i64 yb2) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * ne1 * ne2) return;
    const i64 j = i % n, i1 = i / n % ne1, i2 = i / (n * ne1);
    const char* block = x + i1 * xb1 + i2 * xb2 + j / 32 * 34;
    const float v = half_to_float(*(const unsigned short*)block) * (float)((const signed char*)block)[2 + j % 32];
    char* at = y + i1 * yb1 + i2 * yb2;
    if (to == 0) ((float*)at)[j] = v;
    else ((unsigned short*)at)[j] = float_to_half(v);
}
