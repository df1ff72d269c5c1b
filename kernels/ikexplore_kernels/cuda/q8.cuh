// Activations in 8 bits: codes int8 [n][k] and, for every 32 of them, Q8 [n][k / 32]. The same scheme as on the CPU: the
// largest magnitude of 32 becomes 127, the scale is a float32, codes are rounded to nearest even.
#include "common.cuh"

struct Q8 {
    float d;    // value = d * code
    float sum;  // d * (sum of the 32 codes), for weights with a minimum
};

DEVICE int q8_code(float x, float inverse) {
    // 1.5 * 2^23 leaves the rounded integer in the low bits
    return (i8)(__float_as_uint(fma_rn(x, inverse, 12582912.0f)) & 255);
}
