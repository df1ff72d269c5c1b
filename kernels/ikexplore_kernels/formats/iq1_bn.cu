// iq1_bn: the layout is described in iq1_bn.py.
#include "formats.cuh"
#include "sizes/iq1_bn.cuh"

struct iq1_bn : Quant, Sizes_iq1_bn {
    // Digit j of five in base 3: what 3 (byte 3^(4 - j) modulo 256) has above its low 8 bits.
    DEVICE static u32 digit(u32 byte, int j) {
        const u32 power[] = {81, 27, 9, 3, 1};
        return 3 * (byte * power[j] & 255) >> 8;
    }
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq1_bn>(w, b);
        for (int h = 0; h < 2; h++) {
            int k = (b & 1) * 2 + h;
            u32 last = g[12];
            for (int e = 0; e < 4 - k; e++) last *= 3;  // its digit k, as below
            for (int j = 0; j < 4; j++) {
                u32 four = 0;
                for (int i = 4 * j; i < 4 * j + 4; i++) {
                    u32 code = i == 15 ? 3 * (last & 255) >> 8 : digit(g[3 * k + i / 5], i % 5);
                    four |= code << (i & 3) * 8;
                }
                o.q[4 * h + j] = minus(four, 1);
            }
        }
        one_scale(o, load_half<1>(w));
    }
};

KERNELS(iq1_bn)
