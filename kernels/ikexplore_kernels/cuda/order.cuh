// order[n] = numbers of x in falling order, ties in rising order of number, by the threads of one block. From entry least on (0:
// never) those below part times the largest value become -1.
DEVICE void falling_order(const float* x, int* order, i64 n, i64 least, float part) {
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
        const float v = x[i];
        i64 rank = 0;
        float top = v;
        for (i64 j = 0; j < n; ++j) {
            rank += x[j] > v || (x[j] == v && j < i);
            top = x[j] > top ? x[j] : top;
        }
        order[rank] = least && rank >= least && v < top * part ? -1 : (int)i;
    }
}
