// The exponents of mxfp4: 2^(e - 128), as a product because the smallest ones are subnormal.
#include "common.cuh"

DEVICE float power_of_two(u32 e) {
    return __uint_as_float((e / 2 + 64) << 23) * __uint_as_float((e - e / 2 + 62) << 23);
}
