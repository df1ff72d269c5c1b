// f16: the layout is described in f16.py.
#include "formats.cuh"
#include "sizes/f16.cuh"

struct f16 : Quant, Sizes_f16 {
    static constexpr bool dense = true;
    DEVICE static float value(const u8* w, int r, i64 c) { return load_half<2>(w + 2 * c); }
    DEVICE static float2 pair(const u8* w, int r, i64 c) {
        u32 t = load32<4>(w + 2 * c);
        return make_float2(half_to_float((u16)t), half_to_float((u16)(t >> 16)));
    }
};

KERNELS_DENSE(f16)
