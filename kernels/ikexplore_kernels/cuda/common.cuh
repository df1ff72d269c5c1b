// What every kernel may use. The same text compiles as C++17 in the tests, where a header that stands in for the CUDA
// builtins defines IKX_SHIM and what is bracketed here.
//
// KERNEL(name, arguments...) { body }      a kernel with C linkage
// SHARED_BYTES(pointer_name)               the shared memory whose size is given at launch

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifndef IKX_SHIM
#define DEVICE __device__ __forceinline__
#define TABLE __device__ const
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define SHARED_BYTES(name) extern __shared__ __align__(16) u8 name[]
#define FULL_WARP 0xffffffffu

DEVICE float half_to_float(u16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

DEVICE u16 float_to_half(float f) {  // to nearest even
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

// Is p a multiple of n? Checked in the tests only.
#define ALIGNED(p, n)
#endif

DEVICE float bf16_to_float(u16 h) { return __uint_as_float((u32)h << 16); }

DEVICE u16 float_to_bf16(float f) {  // to nearest even; a NaN stays one
    u32 u = __float_as_uint(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (u16)(u >> 16 | 64);
    return (u16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

// a.b of four signed bytes each, plus c
DEVICE int dot4(int a, int b, int c) { return __dp4a(a, b, c); }

// Fused, one rounding; everywhere else products and sums are rounded one by one.
DEVICE float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }

// ---- sums and maxima over the lanes of a warp that differ in the bits below `width` and from `first` on

DEVICE float lanes_sum(float x, int width = 32, int first = 1) {
    for (int k = width / 2; k >= first; k /= 2) x += __shfl_xor_sync(FULL_WARP, x, k);
    return x;
}

DEVICE int lanes_sum(int x, int width = 32, int first = 1) {
    for (int k = width / 2; k >= first; k /= 2) x += __shfl_xor_sync(FULL_WARP, x, k);
    return x;
}

DEVICE float lanes_max(float x, int width = 32, int first = 1) {
    for (int k = width / 2; k >= first; k /= 2) x = fmaxf(x, __shfl_xor_sync(FULL_WARP, x, k));
    return x;
}

// The sum over a block of up to 1024 threads, in every thread; `scratch` is float [32] in shared memory.
DEVICE float block_sum(float x, float* scratch) {
    int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int warps = (blockDim.x * blockDim.y * blockDim.z + 31) / 32;
    x = lanes_sum(x);
    if ((t & 31) == 0) scratch[t >> 5] = x;
    __syncthreads();
    x = (t & 31) < warps ? scratch[t & 31] : 0.0f;
    x = lanes_sum(x);
    __syncthreads();
    return x;
}

DEVICE float block_max(float x, float* scratch) {
    int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int warps = (blockDim.x * blockDim.y * blockDim.z + 31) / 32;
    x = lanes_max(x);
    if ((t & 31) == 0) scratch[t >> 5] = x;
    __syncthreads();
    x = scratch[(t & 31) < warps ? (t & 31) : 0];
    x = lanes_max(x);
    __syncthreads();
    return x;
}

// ---- reading bytes whose alignment A is known (1, 2, 4, 8 or 16)

template <int A> DEVICE u32 load16(const u8* p) {
    ALIGNED(p, A < 2 ? A : 2);
    if (A >= 2) return *(const u16*)p;
    return p[0] | (u32)p[1] << 8;
}

template <int A> DEVICE u32 load32(const u8* p) {
    ALIGNED(p, A < 4 ? A : 4);
    if (A >= 4) return *(const u32*)p;
    if (A >= 2) return *(const u16*)p | (u32)*(const u16*)(p + 2) << 16;
    return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

template <int A> DEVICE float load_half(const u8* p) { return half_to_float((u16)load16<A>(p)); }
template <int A> DEVICE float load_float(const u8* p) { return __uint_as_float(load32<A>(p)); }

// N words
template <int A, int N> DEVICE void load_words(const u8* p, u32* out) {
    ALIGNED(p, A);
    if (A >= 16 && N % 4 == 0) {
        for (int i = 0; i < N / 4; i++) {
            uint4 v = ((const uint4*)p)[i];
            out[4 * i] = v.x, out[4 * i + 1] = v.y, out[4 * i + 2] = v.z, out[4 * i + 3] = v.w;
        }
    } else if (A >= 8 && N % 2 == 0) {
        for (int i = 0; i < N / 2; i++) {
            uint2 v = ((const uint2*)p)[i];
            out[2 * i] = v.x, out[2 * i + 1] = v.y;
        }
    } else if (A >= 4) {
        for (int i = 0; i < N; i++) out[i] = ((const u32*)p)[i];
    } else {  // whole words around them, and what is wanted of each two: half the loads
        int over = (int)((u64)p & 3);
        const u32* t = (const u32*)(p - over);
        u32 low = t[0];
        for (int i = 0; i < N; i++) {
            u32 high = i < N - 1 || over ? t[i + 1] : 0;  // never a word that holds nothing of ours
            out[i] = __funnelshift_r(low, high, 8 * over);
            low = high;
        }
    }
}
