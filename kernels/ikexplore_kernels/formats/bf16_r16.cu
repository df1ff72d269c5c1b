// bf16_r16: the layout is described in bf16_r16.py.
#include "formats.cuh"
#include "sizes/bf16_r16.cuh"

struct bf16_r16 : Quant, Sizes_bf16_r16 {
    static constexpr bool dense = true;
    DEVICE static float value(const u8* w, int r, i64 c) { return bf16_to_float((u16)load16<2>(w + c / 2 * 64 + r * 4 + (c & 1) * 2)); }
    DEVICE static float2 pair(const u8* w, int r, i64 c) {
        u32 t = load32<4>(w + c / 2 * 64 + r * 4);
        return make_float2(bf16_to_float((u16)t), bf16_to_float((u16)(t >> 16)));
    }
};

KERNELS_DENSE(bf16_r16)
