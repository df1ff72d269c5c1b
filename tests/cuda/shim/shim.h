// Stands in for CUDA on a CPU: the builtins that our kernels use, as C++17. Threads of a block are fibers that switch
// where they wait for each other; blocks run one after another. Only for tests.
#pragma once
#define IKX_SHIM 1

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define DEVICE inline
#define TABLE static const
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static
#define FULL_WARP 0xffffffffu

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

static dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace shim {

// ------------------------------------------------------------------------------------------------------- fibers

struct Fiber {
    ucontext_t context;
    std::jmp_buf at;
    std::vector<char> stack;
    dim3 index;
    enum { NEW, RUNNING, WARP, BLOCK, DONE } state = NEW;
    int warp = 0, lane = 0;
};

// shuffles: what each lane of a warp gave, written before the wait and read after it, in turns
struct Warp {
    uint64_t given[2][32];
    unsigned turn[32];
};

static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static ucontext_t scheduler;
static std::jmp_buf scheduler_at;
static Fiber* current = nullptr;
static void (*body)(void*) = nullptr;
static void* body_argument = nullptr;
static std::string failure;
alignas(64) static unsigned char dynamic[256 * 1024];

static void fail(const char* why) {
    if (failure.empty()) failure = why;
}

static void begin() {
    body(body_argument);
    current->state = Fiber::DONE;
    _longjmp(scheduler_at, 1);
}

static void wait_for(decltype(Fiber::state) what) {
    current->state = what;
    if (!_setjmp(current->at)) _longjmp(scheduler_at, 1);
}

static void resume(Fiber& f) {
    current = &f;
    threadIdx = f.index;
    auto before = f.state;
    f.state = Fiber::RUNNING;
    if (_setjmp(scheduler_at)) return;
    if (before != Fiber::NEW) _longjmp(f.at, 1);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    f.context.uc_link = nullptr;
    makecontext(&f.context, begin, 0);
    setcontext(&f.context);
}

// Release those who wait for the same thing once all of them do. A thread that has returned is missing from a warp: on
// a card that is an error too.
static bool release(size_t first, size_t last, decltype(Fiber::state) what, const char* broken) {
    size_t waiting = 0, done = 0;
    for (size_t i = first; i < last; i++) {
        waiting += fibers[i].state == what;
        done += fibers[i].state == Fiber::DONE;
    }
    if (waiting && waiting + done == last - first) {
        if (done) fail(broken);
        for (size_t i = first; i < last; i++)
            if (fibers[i].state == what) resume(fibers[i]);
        return true;
    }
    return false;
}

static void run_block() {
    size_t n = (size_t)blockDim.x * blockDim.y * blockDim.z;
    if (fibers.size() < n) fibers.resize(n);
    warps.assign((n + 31) / 32, Warp{});
    for (size_t i = 0; i < n; i++) {
        Fiber& f = fibers[i];
        if (f.stack.empty()) f.stack.resize(96 * 1024);
        f.index.x = i % blockDim.x;
        f.index.y = i / blockDim.x % blockDim.y;
        f.index.z = i / blockDim.x / blockDim.y;
        f.warp = (int)(i / 32), f.lane = (int)(i % 32);
        f.state = Fiber::NEW;
    }
    for (size_t i = 0; i < n; i++) resume(fibers[i]);
    for (bool moved = true; moved && failure.empty();) {
        moved = false;
        for (size_t w = 0; w < n; w += 32)
            moved |= release(w, std::min(w + 32, n), Fiber::WARP, "a lane returned while its warp shuffles");
        if (!moved) moved = release(0, n, Fiber::BLOCK, "a thread returned while its block waits in __syncthreads");
    }
    for (size_t i = 0; i < n; i++)
        if (fibers[i].state != Fiber::DONE) fail("threads of a block wait for different things");
}

template <class... A, size_t... I>
static void call(void (*f)(A...), void** args, std::index_sequence<I...>) {
    f(*(std::remove_reference_t<A>*)args[I]...);
}

template <class... A> struct Call {
    void (*f)(A...);
    void** args;
    static void run(void* self) {
        Call* c = (Call*)self;
        call(c->f, c->args, std::index_sequence_for<A...>());
    }
};

// Sizes of the arguments, for a check of what the caller gives; -1 ends them.
template <class... A> static void sizes(void (*)(A...), int* out) {
    int all[] = {(int)sizeof(A)..., -1};
    std::memcpy(out, all, sizeof(all));
}

template <class... A> static const char* launch(void (*f)(A...), const unsigned* dims, void** args, int* check) {
    if (check) {
        sizes(f, check);
        return nullptr;
    }
    Call<A...> one{f, args};
    body = Call<A...>::run, body_argument = &one;
    gridDim = dim3{dims[0], dims[1], dims[2]}, blockDim = dim3{dims[3], dims[4], dims[5]};
    failure.clear();
    const bool backwards = dims[7];  // a card promises no order of blocks
    for (unsigned z = 0; z < gridDim.z && failure.empty(); z++)
        for (unsigned y = 0; y < gridDim.y && failure.empty(); y++)
            for (unsigned x = 0; x < gridDim.x && failure.empty(); x++) {
                blockIdx = backwards ? dim3{gridDim.x - 1 - x, gridDim.y - 1 - y, gridDim.z - 1 - z} : dim3{x, y, z};
                std::memset(dynamic, 0xA5, dims[6]);  // shared memory is not cleared on a card
                run_block();
            }
    return failure.empty() ? nullptr : failure.c_str();
}

static void aligned(const void* p, size_t n) {
    if ((uintptr_t)p % n) fail("a load at an address that is not a multiple of its size");
}

static uint64_t exchange(uint64_t mine, int from) {
    Fiber* me = current;
    Warp& w = warps[me->warp];
    unsigned turn = w.turn[me->lane]++ & 1;
    w.given[turn][me->lane] = mine;
    wait_for(Fiber::WARP);
    return w.given[turn][from & 31];
}

template <class T> static T bits_through(T x, int from) {
    static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
    uint64_t raw = 0;
    std::memcpy(&raw, &x, sizeof(T));
    raw = exchange(raw, from);
    std::memcpy(&x, &raw, sizeof(T));
    return x;
}

}  // namespace shim

// Every kernel gets a function of C linkage that the test's Python calls: launch_<name>.
#define KERNEL(name, ...)                                                                                   \
    static void name(__VA_ARGS__);                                                                          \
    extern "C" const char* launch_##name(const unsigned* dims, void** args, int* check) {                   \
        return shim::launch(&name, dims, args, check);                                                      \
    }                                                                                                       \
    static void name(__VA_ARGS__)
#define SHARED_BYTES(name) unsigned char* name = shim::dynamic
#define ALIGNED(p, n) shim::aligned(p, n)

// ------------------------------------------------------------------------------------------------ waiting, lanes

static inline void __syncthreads() { shim::wait_for(shim::Fiber::BLOCK); }
static inline void __syncwarp(unsigned = FULL_WARP) { shim::wait_for(shim::Fiber::WARP); }
static inline void __threadfence() {}
static inline int lane_of_me() { return shim::current->lane; }

template <class T> static T __shfl_xor_sync(unsigned, T x, int mask, int = 32) {
    return shim::bits_through(x, lane_of_me() ^ mask);
}
template <class T> static T __shfl_sync(unsigned, T x, int from, int width = 32) {
    return shim::bits_through(x, (lane_of_me() & ~(width - 1)) | (from & (width - 1)));
}
template <class T> static T __shfl_down_sync(unsigned, T x, unsigned n, int = 32) {
    int from = lane_of_me() + (int)n;
    return shim::bits_through(x, from < 32 ? from : lane_of_me());
}
template <class T> static T __shfl_up_sync(unsigned, T x, unsigned n, int = 32) {
    int from = lane_of_me() - (int)n;
    return shim::bits_through(x, from >= 0 ? from : lane_of_me());
}
static inline unsigned __ballot_sync(unsigned, int yes) {
    unsigned out = 0;
    auto me = shim::current;
    auto& w = shim::warps[me->warp];
    unsigned turn = w.turn[me->lane] & 1;
    shim::exchange(yes != 0, me->lane);
    for (int i = 0; i < 32; i++) out |= (unsigned)(w.given[turn][i] & 1) << i;
    return out;
}
static inline int __any_sync(unsigned m, int yes) { return __ballot_sync(m, yes) != 0; }
static inline int __all_sync(unsigned m, int yes) { return __ballot_sync(m, yes) == 0xffffffffu; }

// ------------------------------------------------------------------------------------------------------ numbers

static inline unsigned __float_as_uint(float x) {
    unsigned u;
    std::memcpy(&u, &x, 4);
    return u;
}
static inline float __uint_as_float(unsigned u) {
    float x;
    std::memcpy(&x, &u, 4);
    return x;
}
static inline int __float_as_int(float x) { return (int)__float_as_uint(x); }
static inline float __int_as_float(int u) { return __uint_as_float((unsigned)u); }

static inline float half_to_float(unsigned short h) {
    unsigned sign = (unsigned)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
    if (e == 31) return __uint_as_float(sign | 0x7f800000 | m << 13);
    if (e) return __uint_as_float(sign | (e + 112) << 23 | m << 13);
    float x = std::ldexp((float)m, -24);
    return sign ? -x : x;
}
static inline unsigned short float_to_half(float x) {
    unsigned u = __float_as_uint(x), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (unsigned short)(sign | 0x7e00);
    if (u >= 0x477ff000) return (unsigned short)(sign | 0x7c00);
    if (u < 0x38800000) return (unsigned short)(sign | (unsigned)std::nearbyint(std::ldexp(__uint_as_float(u), 24)));
    return (unsigned short)(sign | ((u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13));
}

static inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += (int)(signed char)(a >> 8 * i) * (int)(signed char)(b >> 8 * i);
    return c;
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
    uint64_t both = (uint64_t)b << 32 | a;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) {
        unsigned pick = s >> 4 * i & 15, byte = (unsigned)(both >> 8 * (pick & 7)) & 255;
        if (pick & 8) byte = byte & 128 ? 255 : 0;
        out |= byte << 8 * i;
    }
    return out;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) {
    return (unsigned)(((uint64_t)high << 32 | low) >> (n & 31));
}
#define SHIM_BYTES(name, expression)                                  \
    static inline unsigned name(unsigned a, unsigned b) {             \
        unsigned out = 0;                                             \
        for (int i = 0; i < 4; i++) {                                 \
            unsigned x = a >> 8 * i & 255, y = b >> 8 * i & 255;      \
            out |= (unsigned)((expression) & 255) << 8 * i;           \
        }                                                             \
        return out;                                                   \
    }
SHIM_BYTES(__vadd4, x + y)
SHIM_BYTES(__vsub4, x - y)
SHIM_BYTES(__vcmpeq4, x == y ? 255 : 0)
SHIM_BYTES(__vcmpne4, x != y ? 255 : 0)
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
#define __expf(x) std::exp((float)(x))
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static inline int __float2int_rn(float x) { return (int)std::nearbyint(x); }
template <class T> static T __ldg(const T* p) {
    shim::aligned(p, sizeof(T));
    return *p;
}
using std::max;
using std::min;

// ------------------------------------------------------------------------------------------------------ atomics

template <class T> static T atomicAdd(T* p, T x) {
    T old = *p;
    *p = old + x;
    return old;
}
template <class T> static T atomicMax(T* p, T x) {
    T old = *p;
    *p = old > x ? old : x;
    return old;
}
template <class T> static T atomicMin(T* p, T x) {
    T old = *p;
    *p = old < x ? old : x;
    return old;
}
template <class T> static T atomicCAS(T* p, T compare, T x) {
    T old = *p;
    if (old == compare) *p = x;
    return old;
}
template <class T> static T atomicExch(T* p, T x) {
    T old = *p;
    *p = x;
    return old;
}
