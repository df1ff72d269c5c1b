// Activations made ready for products with quantized weights: int8 codes, and per 32 values a float32 scale and the sum.
#include "common.cuh"
#include "q8.cuh"

// float32 x[n][stride] -> codes q[n][k], scales s[n][k / 32]. A thread takes 4 values, 8 threads a block of 32.
// Threads: any number a multiple of 32 along x, covering k / 4; grid y: the n rows. k is a multiple of 32.
KERNEL(quantize_q8, const float* x, i8* q, Q8* s, i64 k, i64 stride) {
    i64 j = (i64)blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;
    bool inside = 4 * j < k;
    const float* from = x + row * stride + 4 * j;
    float v[4];
    for (int i = 0; i < 4; i++) v[i] = inside ? from[i] : 0.0f;
    float top = lanes_max(fmaxf(fmaxf(fabsf(v[0]), fabsf(v[1])), fmaxf(fabsf(v[2]), fabsf(v[3]))), 8);
    float r = top <= 2e-36f ? 0.0f : 1.0f / top + (top - top), inverse = 0, least = 0;
    for (int i = 0; i < 3; i++) {
        float steps = 127.0f - 2 * i, error = 0;
        for (int c = 0; c < 4; c++) {
            float off = v[c] * (r * steps) - q8_round(v[c], r * steps);
            error = fma_rn(off, off, error);
        }
        error = lanes_sum(error, 8) * (float)(1.0 / (steps * steps));
        if (i == 0 || error < least) inverse = r * steps, least = error;
    }
    u32 four = 0;
    int sum = 0;
    float along = 0, squares = 0;
    for (int c = 0; c < 4; c++) {
        float code = q8_round(v[c], inverse);
        sum += (int)code;
        four |= (u32)((int)code & 255) << 8 * c;
        along = fma_rn(v[c], code, along), squares = fma_rn(code, code, squares);
    }
    sum = lanes_sum(sum, 8);
    along = lanes_sum(along, 8), squares = lanes_sum(squares, 8);
    if (!inside) return;
    ((u32*)(q + row * k))[j] = four;
    float d = inverse != 0 ? along / squares : 0.0f;
    if ((j & 7) == 0) s[row * (k / 32) + j / 8] = Q8{d, d * (float)sum};
}
