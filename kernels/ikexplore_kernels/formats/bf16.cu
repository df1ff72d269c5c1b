// bf16: the layout is described in bf16.py.
#include "formats.cuh"
#include "sizes/bf16.cuh"

struct bf16 : Quant, Sizes_bf16 {
    static constexpr bool dense = true;
    DEVICE static float value(const u8* w, int r, i64 c) { return bf16_to_float((u16)load16<2>(w + 2 * c)); }
    DEVICE static float2 pair(const u8* w, int r, i64 c) {
        u32 t = load32<4>(w + 2 * c);
        return make_float2(bf16_to_float((u16)t), bf16_to_float((u16)(t >> 16)));
    }
};

KERNELS_DENSE(bf16)
