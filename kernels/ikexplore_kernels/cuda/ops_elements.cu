// Element by element, rows in and out, copies between types and strides, sums over experts, the router's order.
// Shapes are ggml's: ne0 is the fastest dimension, nb are byte strides. A tensor that has its own memory has no gaps.
#include "common.cuh"
#include "gates.cuh"
#include "order.cuh"

// y = x op z with z repeated in every dimension; kind 0 to 3: add, subtract, multiply, divide. y has no gaps.
KERNEL(binary, const char* x, const char* z, float* y, i64 kind, i64 ne0, i64 ne1, i64 ne2, i64 ne3, i64 xb1, i64 xb2, i64
       xb3, i64 zn0, i64 zn1, i64 zn2, i64 zn3, i64 zb1, i64 zb2, i64 zb3) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= ne0 * ne1 * ne2 * ne3) return;
    const i64 i0 = i % ne0, i1 = i / ne0 % ne1, i2 = i / (ne0 * ne1) % ne2, i3 = i / (ne0 * ne1 * ne2);
    const float a = *(const float*)(x + i1 * xb1 + i2 * xb2 + i3 * xb3 + 4 * i0);
    const float b = *(const float*)(z + i1 % zn1 * zb1 + i2 % zn2 * zb2 + i3 % zn3 * zb3 + i0 % zn0 * 4);
    y[i] = kind == 0 ? a + b : kind == 1 ? a - b : kind == 2 ? a * b : a / b;
}

// y = factor * x + bias, or an activation of x (kinds of gates.cuh); no gaps.
KERNEL(scale, const float* x, float* y, i64 n, float factor, float bias) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * factor + bias;
}

KERNEL(unary, const float* x, float* y, i64 n, i64 kind) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = activated((int)kind, x[i]);
}

// y = activation(gate) * up over rows of n; steps are bytes from row to row. With ids (one int per row and slot, -1: none)
// rows of the two biases are added first.
KERNEL(gated, const char* gate, const char* up, float* y, i64 n, i64 rows, i64 gate_step, i64 up_step, i64 kind, const char*
       gate_bias, const char* up_bias, i64 bias_step, const char* ids, i64 ids_step, i64 slots) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * rows) return;
    const i64 row = i / n, j = i % n;
    float a = *(const float*)(gate + row * gate_step + 4 * j), b = *(const float*)(up + row * up_step + 4 * j);
    if (ids) {
        const i64 id = *(const int*)(ids + row / slots * ids_step + row % slots * 4);
        a += *(const float*)(gate_bias + id * bias_step + 4 * j);
        b += *(const float*)(up_bias + id * bias_step + 4 * j);
    }
    y[i] = gated_value((int)kind, a, b);
}

// y = x + the row of z that ids names, for rows [n, slots, tokens] without gaps.
KERNEL(add_id, const float* x, const char* z, const char* ids, float* y, i64 n, i64 slots, i64 tokens, i64 z_step, i64
       ids_step) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * slots * tokens) return;
    const i64 row = i / n;
    const i64 id = *(const int*)(ids + row / slots * ids_step + row % slots * 4);
    y[i] = x[i] + *(const float*)(z + id * z_step + i % n * 4);
}

// y[t] = sum over slots of x[t, slot], times w[t, slot] where w is not 0.
KERNEL(multi_add, const char* x, const float* w, float* y, i64 n, i64 tokens, i64 slots, i64 token_step, i64 slot_step) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * tokens) return;
    const i64 t = i / n;
    float sum = 0;
    for (i64 s = 0; s < slots; ++s) {
        const float v = *(const float*)(x + t * token_step + s * slot_step + i % n * 4);
        sum += w ? w[t * slots + s] * v : v;
    }
    y[i] = sum;
}

// A number of type kind (0 f32, 1 f16, 2 bf16, 3 i32) as float, and back.
DEVICE float number(const char* p, int kind) {
    if (kind == 0) return *(const float*)p;
    return kind == 1 ? half_to_float(*(const unsigned short*)p) : bf16_to_float(*(const unsigned short*)p);
}

// Copies [ne] from strides xb to strides yb, from type to type; per_past bytes of y are skipped for each earlier position.
KERNEL(copy, const char* x, char* y, i64 from, i64 to, i64 ne0, i64 ne1, i64 ne2, i64 ne3, i64 xb0, i64 xb1, i64 xb2, i64
       xb3, i64 yb0, i64 yb1, i64 yb2, i64 yb3, const i64* past, i64 per_past) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= ne0 * ne1 * ne2 * ne3) return;
    const i64 i0 = i % ne0, i1 = i / ne0 % ne1, i2 = i / (ne0 * ne1) % ne2, i3 = i / (ne0 * ne1 * ne2);
    x += i0 * xb0 + i1 * xb1 + i2 * xb2 + i3 * xb3;
    y += i0 * yb0 + i1 * yb1 + i2 * yb2 + i3 * yb3 + (past ? past[0] * per_past : 0);
    if (from == to) {
        if (to == 0 || to == 3) *(int*)y = *(const int*)x;
        else *(unsigned short*)y = *(const unsigned short*)x;
        return;
    }
    const float v = number(x, (int)from);
    if (to == 0) *(float*)y = v;
    else *(unsigned short*)y = to == 1 ? float_to_half(v) : float_to_bf16(v);
}

// Rows by number, bytes in units of unit (1, 2 or 4): y[i] = x[ids[i]]; a number below 0 gives zeros.
KERNEL(pick_rows, const char* x, const int* ids, char* y, i64 count, i64 bytes, i64 step, i64 unit) {
    const i64 per_row = bytes / unit;
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count * per_row) return;
    const i64 id = ids[i / per_row], at = i % per_row * unit;
    const char* from = x + id * step + at;
    char* to = y + i / per_row * bytes + at;
    if (unit == 4) *(int*)to = id < 0 ? 0 : *(const int*)from;
    else if (unit == 2) *(short*)to = id < 0 ? 0 : *(const short*)from;
    else *to = id < 0 ? 0 : *from;
}

// y[t, s] = x[t, ids[t, s]]; 0 for a number below 0.
KERNEL(pick_values, const char* x, const char* ids, float* y, i64 slots, i64 tokens, i64 x_step, i64 ids_step) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= slots * tokens) return;
    const int id = *(const int*)(ids + i / slots * ids_step + i % slots * 4);
    y[i] = id < 0 ? 0.0f : *(const float*)(x + i / slots * x_step + 4 * (i64)id);
}

// int y[row] = columns in falling order of x, ties in rising order of column. One block per row. From entry least on
// (0: never) those below part times the largest value become -1.
KERNEL(argsort, const float* x, int* y, i64 n, i64 least, float part) {
    falling_order(x + blockIdx.x * n, y + blockIdx.x * n, n, least, part);
}

// Rows of float32 as half: y[i] = x[order[i] / each], or with order 0 row i.
KERNEL(to_half, const char* x, u16* y, i64 n, i64 rows, i64 x_step, const int* order, i64 each) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * rows) return;
    const i64 row = order ? order[i / n] / each : i / n;
    y[i] = float_to_half(*(const float*)(x + row * x_step + i % n * 4));
}

// The same, as float32.
KERNEL(gather, const char* x, float* y, i64 n, i64 rows, i64 x_step, const int* order, i64 each) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * rows) return;
    const i64 row = order ? order[i / n] / each : i / n;
    y[i] = *(const float*)(x + row * x_step + i % n * 4);
}
