# What sources found, by reciprocal ranks.


def fuse(
    const int64_t[::1] owners,
    const int64_t[::1] counts,
    const double[::1] worth,
    const uint8_t[::1] hidden,
    Py_ssize_t constant,
):
    cdef Py_ssize_t hit = 0, number, rank, end, size = owners.shape[0], owned = hidden.shape[0]
    made = empty(size, dtype=integers), empty(size, dtype=integers), empty(size), numpy.zeros(owned)
    cdef int64_t[::1] source = made[0]
    cdef int64_t[::1] ranks = made[1]
    cdef double[::1] shares = made[2]
    cdef double[::1] fused = made[3]
    if counts.shape[0] != worth.shape[0]:
        raise ValueError("not a worth for each source")
    for number in range(counts.shape[0]):
        if not 0 <= counts[number] <= size - hit:
            raise IndexError("more hits than there are")
        rank, end = 0, hit + counts[number]
        while hit < end:
            if not 0 <= owners[hit] < owned:
                raise IndexError("a hit of nobody")
            shares[hit] = 0.0
            if not hidden[owners[hit]]:
                rank += 1
                shares[hit] = worth[number] / (constant + rank)
            source[hit], ranks[hit] = number, rank
            fused[owners[hit]] += shares[hit]
            hit += 1
    if hit != size:
        raise ValueError("hits of no source")
    return made


def leading(const double[::1] values, const uint8_t[::1] hidden, Py_ssize_t limit):
    cdef Best found
    cdef Py_ssize_t row, count = 0, size = values.shape[0]
    if hidden.shape[0] != size:
        raise ValueError("not a value for each")
    kept = room(limit, size, &found)
    for row in range(size):
        if not hidden[row]:
            offer(&found, values[row], 0)
    rows = empty(size, dtype=integers)
    cdef int64_t[::1] result = rows
    for row in range(size):
        if not hidden[row] and (found.size < limit or values[row] >= found.scores[0]):
            result[count] = row
            count += 1
    return rows[:count] if limit > 0 else rows[:0]


def named(tuple ids, tuple others, const int64_t[::1] numbers):
    cdef Py_ssize_t row, number, known = len(ids), size = known + len(others)
    names = []
    for row in range(numbers.shape[0]):
        number = numbers[row]
        if not 0 <= number < size:
            raise IndexError("a number of nobody")
        names.append(ids[number] if number < known else others[number - known])
    return names


def traces(
    const int64_t[::1] wanted,
    const int64_t[::1] owners,
    const int64_t[::1] source,
    const int64_t[::1] ranks,
    const double[::1] shares,
    const double[::1] scores,
    names,
    anchors,
):
    cdef Sums found
    cdef Py_ssize_t row, hit, size = owners.shape[0]
    if not size == source.shape[0] == ranks.shape[0] == shares.shape[0] == scores.shape[0] == len(anchors):
        raise ValueError("not as many of each")
    made = arrays(wanted.shape[0], &found)
    for row in range(wanted.shape[0]):
        add(&found, wanted[row], 0.0)
    if found.size != wanted.shape[0]:
        raise ValueError("wanted twice")
    groups = [[] for row in range(found.size)]
    for hit in range(size):
        row = found.slots[slot_of(owners[hit], found.places, found.slots, found.bits)]
        if row >= 0:
            groups[row].append((names[within(source[hit], len(names))], ranks[hit], shares[hit], anchors[hit], scores[hit]))
    return groups


def falling(const double[::1] scores, ids):
    cdef Best found
    cdef Py_ssize_t row, start = 0, size = scores.shape[0]
    made = room(size, size, &found)
    for row in range(size):
        # A score that is none is the least: compared as it is, it would leave all in no order.
        offer(&found, scores[row] if scores[row] == scores[row] else LEAST, row)
    in_order(&found, made)
    rows = made[0][:size].tolist()
    for row in range(1, size + 1):
        if row == size or found.scores[row] != found.scores[start]:
            if row - start > 1:
                rows[start:row] = sorted(rows[start:row], key=ids.__getitem__)
            start = row
    return rows
