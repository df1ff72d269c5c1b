// Products of many tokens with chosen experts: who goes where, and rows of activations brought together and apart.
#include "common.cuh"

// How many pairs (token, slot) go to expert blockIdx.x.
KERNEL(expert_counts, const int* ids, int* counts, int pairs) {
    __shared__ float scratch[32];
    int n = 0;
    for (int i = threadIdx.x; i < pairs; i += blockDim.x) n += ids[i] == (int)blockIdx.x;
    float total = block_sum((float)n, scratch);  // whole numbers below 2^24 are exact
    if (threadIdx.x == 0) counts[blockIdx.x] = (int)total;
}

// The pairs of expert blockIdx.x in their order; starts[n_expert] is the number of all.
KERNEL(expert_order, const int* ids, const int* counts, int* starts, int* order, int pairs, int n_expert) {
    __shared__ int before[32];
    int me = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    int at = 0;
    for (int e = 0; e < me; e++) at += counts[e];
    if (threadIdx.x == 0) {
        starts[me] = at;
        if (me == n_expert - 1) starts[n_expert] = at + counts[me];
    }
    for (int first = 0; first < pairs; first += blockDim.x) {
        int i = first + threadIdx.x;
        bool mine = i < pairs && ids[i] == me;
        u32 all = __ballot_sync(FULL_WARP, mine);
        if (lane == 0) before[warp] = __popc(all);
        __syncthreads();
        int to = at + __popc(all & ((1u << lane) - 1));
        for (int k = 0; k < warps; k++) {
            to += k < warp ? before[k] : 0;
            at += before[k];
        }
        if (mine) order[to] = i;
        __syncthreads();
    }
}

// out[i] = x[order[i] / each] in half: rows of the activations of `pairs` pairs, a row of x for `each` of them.
KERNEL(gather_half, const float* x, const int* order, u16* out, i64 pairs, i64 cols, int each) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pairs * cols) return;
    i64 row = i / cols, from = order ? order[row] / each : row;
    out[i] = float_to_half(x[from * cols + i % cols]);
}

// y[order[i]] = rows[i]: results of pairs back to their places.
KERNEL(scatter_rows, const float* rows, const int* order, float* y, i64 pairs, i64 cols) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pairs * cols) return;
    y[order[i / cols] * cols + i % cols] = rows[i];
}
