# The leaves that rows reach in trees, by what splits rule out (see leafmasks.py).

ctypedef fused Bits:
    uint16_t
    uint32_t
    uint64_t

cdef enum:
    ROWS = 64  # at once: what is found of them stays in the inner caches


def add_leaves(
    const float[:, ::1] columns,
    const Py_ssize_t[::1] features,
    const float[::1] thresholds,
    const Bits[::1] masks,
    const Py_ssize_t[::1] starts,
    const double[:, ::1] values,
):
    cdef Py_ssize_t trees = values.shape[0], rows = columns.shape[1], most = values.shape[1]
    cdef Py_ssize_t tree, split, row, start, end, leaf
    cdef const float* column
    cdef float threshold
    cdef Bits mask
    cdef Bits[ROWS] ruled_out
    cdef int wide = 8 * sizeof(Bits)
    cdef double[:, ::1] found = empty((ROWS, trees))
    sums = empty(rows)
    cdef double[::1] result = sums
    if not (features.shape[0] == thresholds.shape[0] == masks.shape[0]) or starts.shape[0] != trees + 1 or most > wide:
        raise ValueError("the arrays of the splits differ in length")
    if starts[trees] != features.shape[0] or most == 0:
        raise ValueError("the trees have other splits")
    for start in range(0, rows, ROWS):
        end = min(<Py_ssize_t>ROWS, rows - start)
        split = 0
        for tree in range(trees):
            if starts[tree + 1] > features.shape[0]:
                raise IndexError("a tree has splits that are not there")
            for row in range(ROWS):
                ruled_out[row] = 0
            while split < starts[tree + 1]:
                if not 0 <= features[split] < columns.shape[0]:
                    raise IndexError("a split reads no column")
                column = &columns[features[split], start]
                threshold, mask = thresholds[split], masks[split]
                for row in range(end):
                    ruled_out[row] |= mask if column[row] > threshold else <Bits>0
                split += 1
            for row in range(end):
                # As many leaves before the first one that is left as there are ones at the end of the number.
                leaf = ending_zeros(~<uint64_t>ruled_out[row] | <uint64_t>1 << 63)
                found[row, tree] = values[tree, min(leaf, most - 1)]
        for row in range(end):
            result[start + row] = in_pairs(&found[row, 0], trees)
    return sums
