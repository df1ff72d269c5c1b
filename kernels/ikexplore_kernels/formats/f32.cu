// f32: the layout is described in f32.py.
#include "formats.cuh"
#include "sizes/f32.cuh"

struct f32 : Quant, Sizes_f32 {
    static constexpr bool dense = true;
    DEVICE static float value(const u8* w, int r, i64 c) { return load_float<4>(w + 4 * c); }
    DEVICE static float2 pair(const u8* w, int r, i64 c) {
        return make_float2(value(w, r, c), value(w, r, c + 1));
    }
};

KERNELS_DENSE(f32)
