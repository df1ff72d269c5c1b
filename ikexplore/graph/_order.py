"""The order of a graph: ggml's depth-first walk. Plain Python that numba can compile; see ``fast``."""

import numpy as np


def depth_first(srcs, op_id, roots):  # type: ignore[no-untyped-def]
    """Leafs and nodes in the order of ggml_build_forward_expand, root by root: two int32 arrays of row numbers.

    srcs int32 [rows, width], op_id int16 [rows] (0: a leaf), roots int32. A row is listed when all of its sources,
    taken from left to right, have been.
    """
    n_rows, width = srcs.shape
    seen = np.zeros(n_rows, np.bool_)
    leafs = np.empty(n_rows, np.int32)
    nodes = np.empty(n_rows, np.int32)
    stack = np.empty(n_rows, np.int32)
    next_src = np.zeros(n_rows, np.int32)
    n_leafs = 0
    n_nodes = 0
    for root in roots:
        if seen[root]:
            continue
        seen[root] = True
        depth = 0
        stack[0] = root
        while depth >= 0:
            row = stack[depth]
            j = next_src[row]
            next_src[row] = j + 1
            if j < width:
                source = srcs[row, j]
                if source >= 0 and not seen[source]:
                    seen[source] = True
                    depth += 1
                    stack[depth] = source
            else:
                depth -= 1
                if op_id[row] == 0:
                    leafs[n_leafs] = row
                    n_leafs += 1
                else:
                    nodes[n_nodes] = row
                    n_nodes += 1
    return leafs[:n_leafs], nodes[:n_nodes]
