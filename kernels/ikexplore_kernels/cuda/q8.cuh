// Activations in 8 bits: codes int8 [n][k] and, for every 32 of them, Q8 [n][k / 32]. The scheme of the CPU (see
// activations.py): of 127, 125 and 123 steps for the largest magnitude those that leave the least error, codes to nearest
// even, and the float32 scale that fits the codes best in least squares.
#include "common.cuh"

struct Q8 {
    float d;    // value = d * code
    float sum;  // d * (sum of the 32 codes), for weights with a minimum
};

// x * inverse to the nearest integer, as a float: 1.5 * 2^23 leaves no room for a fraction.
DEVICE float q8_round(float x, float inverse) { return (x * inverse + 12582912.0f) - 12582912.0f; }

// Four values of a row, columns 4 * j to 4 * j + 3, with the other 28 of their block in 7 neighbouring lanes: codes and the
// block's scale. All lanes of a warp call; those that are not inside give zeros and write nothing.
DEVICE void q8_store(const float* v, bool inside, i64 j, i8* q, Q8* s) {
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
    ((u32*)q)[j] = four;
    float d = inverse != 0 ? along / squares : 0.0f;
    if ((j & 7) == 0) s[j / 8] = Q8{d, d * (float)sum};
}
