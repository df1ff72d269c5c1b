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
