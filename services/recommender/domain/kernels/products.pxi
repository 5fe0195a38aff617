# Sums of rows, products of vectors, and equations.


ctypedef fused Number:
    float
    double


cdef Number in_pairs(const Number* values, Py_ssize_t size) noexcept nogil:
    """Their sum as numpy adds up a row: pairwise, from 128 on downwards eight at a time."""
    cdef Number[8] sums
    cdef Number result = 0
    cdef Py_ssize_t at, lane, half
    if size > 128:
        half = size // 2
        half -= half % 8
        return in_pairs(values, half) + in_pairs(values + half, size - half)
    if size < 8:
        for at in range(size):
            result += values[at]
        return result
    for lane in range(8):
        sums[lane] = values[lane]
    for at in range(8, size - size % 8, 8):
        for lane in range(8):
            sums[lane] += values[at + lane]
    result = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for at in range(size - size % 8, size):
        result += values[at]
    return result


def inner(const float[:, ::1] vectors, const int64_t[::1] places, const float[::1] vector):
    cdef Py_ssize_t row, at, place, width = vector.shape[0]
    cdef float[::1] products = empty(width, dtype=numpy.float32)
    if vectors.shape[1] != width:
        raise ValueError("vectors of other lengths")
    sums = empty(places.shape[0])
    cdef double[::1] result = sums
    for row in range(places.shape[0]):
        if row + 8 < places.shape[0] and 0 <= places[row + 8] < vectors.shape[0]:
            fetch_row(&vectors[places[row + 8], 0], width * sizeof(float))
        place = within(places[row], vectors.shape[0])
        for at in range(width):
            products[at] = vectors[place, at] * vector[at]
        result[row] = in_pairs(&products[0], width)
    return sums


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
