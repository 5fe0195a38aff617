# Products of vectors, and equations.


cdef float in_pairs(const float* a, const float* b, Py_ssize_t size) noexcept nogil:
    """The products of the elements, added up as numpy adds up a row: pairwise, eight at a time."""
    cdef float[8] sums
    cdef float result
    cdef Py_ssize_t at, lane, half
    if size > 128:
        half = size // 2
        half -= half % 8
        return in_pairs(a, b, half) + in_pairs(a + half, b + half, size - half)
    if size < 8:
        result = 0.0
        for at in range(size):
            result += a[at] * b[at]
        return result
    for lane in range(8):
        sums[lane] = a[lane] * b[lane]
    for at in range(8, size - size % 8, 8):
        for lane in range(8):
            sums[lane] += a[at + lane] * b[at + lane]
    result = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for at in range(size - size % 8, size):
        result += a[at] * b[at]
    return result


def inner(const float[:, ::1] vectors, const int64_t[::1] places, const float[::1] vector):
    cdef Py_ssize_t row
    if vectors.shape[1] != vector.shape[0]:
        raise ValueError("vectors of other lengths")
    products = empty(places.shape[0])
    cdef double[::1] result = products
    for row in range(places.shape[0]):
        if row + 8 < places.shape[0] and 0 <= places[row + 8] < vectors.shape[0]:
            fetch_row(&vectors[places[row + 8], 0], vectors.shape[1] * sizeof(float))
        result[row] = in_pairs(&vectors[within(places[row], vectors.shape[0]), 0], &vector[0], vector.shape[0])
    return products


def solve(matrix, right):
    solution = right.copy()
    cdef double[::1] result = solution
    cdef double[:, ::1] rows = matrix.copy()
    cdef Py_ssize_t size = result.shape[0], step, row, column
    cdef double factor
    cdef double* above
    cdef double* below
    if not rows.shape[0] == rows.shape[1] == size:
        raise ValueError("not as many equations as unknowns")
    for step in range(size):
        above = &rows[step, 0]
        if not above[step] > 0.0:
            return None
        for row in range(step + 1, size):
            # By symmetry this is what stands in the row's column.
            factor = above[row] / above[step]
            below = &rows[row, 0]
            for column in range(row, size):
                below[column] -= factor * above[column]
            result[row] -= factor * result[step]
    for row in range(size - 1, -1, -1):
        for column in range(row + 1, size):
            result[row] -= rows[row, column] * result[column]
        result[row] /= rows[row, row]
    return solution
