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
    q8_store(v, inside, j, q + row * k, s + row * (k / 32));
}
