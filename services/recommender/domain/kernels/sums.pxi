# Sums by place, in the order of the values: a table of open addressing, at most half full, so that products that are not
# among the places take no step and no byte.

cdef struct Sums:
    int64_t* places
    double* values
    int32_t* slots  # which of the places; -1: none
    int bits  # there are 2 to the power of it
    Py_ssize_t size


cdef tuple arrays(Py_ssize_t most, Sums* sums):
    """Places, values and slots for at most ``most`` places; ``sums`` points to them."""
    cdef int bits = 2
    while 1 << bits < 2 * most:
        bits += 1
    made = empty(most, dtype=integers), empty(most), empty(1 << bits, dtype=numpy.int32)
    cdef int64_t[::1] places = made[0]
    cdef double[::1] values = made[1]
    cdef int32_t[::1] slots = made[2]
    sums.places, sums.values, sums.slots, sums.bits, sums.size = &places[0], &values[0], &slots[0], bits, 0
    memset(sums.slots, -1, sizeof(int32_t) << bits)
    return made


cdef inline Py_ssize_t first_slot(int64_t place, int bits) noexcept nogil:
    """Where a place is looked for first (Fibonacci hashing)."""
    return <Py_ssize_t>((<uint64_t>place * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits))


cdef inline Py_ssize_t slot_of(int64_t place, const int64_t* places, const int32_t* slots, int bits) noexcept nogil:
    """Where a place is, or would be."""
    cdef Py_ssize_t slot = first_slot(place, bits)
    while slots[slot] >= 0 and places[slots[slot]] != place:
        slot = (slot + 1) & ((1 << bits) - 1)
    return slot


cdef inline Py_ssize_t add(Sums* sums, int64_t place, double value) noexcept nogil:
    """Returns which of the distinct places it is."""
    cdef Py_ssize_t slot = slot_of(place, sums.places, sums.slots, sums.bits), number = sums.slots[slot]
    if number < 0:
        number = sums.size
        sums.slots[slot] = <int32_t>number
        sums.places[number] = place
        sums.values[number] = 0.0
        sums.size += 1
    sums.values[number] += value
    return number


def add_up(const int64_t[::1] places, const double[::1] values):
    cdef Sums sums
    cdef Py_ssize_t row
    if places.shape[0] != values.shape[0]:
        raise ValueError("not a value for each place")
    made = arrays(places.shape[0], &sums)
    for row in range(places.shape[0]):
        add(&sums, places[row], values[row])
    return made[0][:sums.size], made[1][:sums.size], made[2]


cdef int check_tables(
    const int32_t[:, ::1] table, const float[:, ::1] weights, const int64_t[::1] places, const double[::1] strengths
) except -1:
    if table.shape[0] != weights.shape[0] or table.shape[1] != weights.shape[1]:
        raise ValueError("not a weight for each neighbour")
    if places.shape[0] != strengths.shape[0]:
        raise ValueError("not a strength for each place")


def spread(
    const int32_t[:, ::1] table, const float[:, ::1] weights, const int64_t[::1] places, const double[::1] strengths
):
    cdef Sums sums
    cdef Py_ssize_t row, column, place, width = table.shape[1]
    check_tables(table, weights, places, strengths)
    made = arrays(places.shape[0] * width, &sums)
    for row in range(places.shape[0]):
        place = within(places[row], table.shape[0])
        if row + 2 < places.shape[0] and 0 <= places[row + 2] < table.shape[0]:
            fetch_row(&table[places[row + 2], 0], width * sizeof(int32_t))
            fetch_row(&weights[places[row + 2], 0], width * sizeof(float))
        for column in range(width):
            add(&sums, table[place, column], weights[place, column] * strengths[row])
    return made[0][:sums.size], made[1][:sums.size], made[2]


def look_up(const int64_t[::1] places, const double[::1] values, const int32_t[::1] slots, const int64_t[::1] wanted):
    cdef Py_ssize_t row, slot, size = slots.shape[0], known = places.shape[0]
    cdef int32_t number
    cdef int bits = ending_zeros(size | <uint64_t>1 << 63)
    if size < 4 or size != <Py_ssize_t>1 << bits or size < 2 * known or known != values.shape[0]:
        raise ValueError("not what was added up")
    answer = empty(wanted.shape[0])
    cdef double[::1] result = answer
    for row in range(wanted.shape[0]):
        slot = first_slot(wanted[row], bits)
        # Not by slot_of: these slots come from outside.
        for _ in range(size):
            number = slots[slot]
            if number >= known:
                raise IndexError("a slot of nothing")
            if number < 0 or places[number] == wanted[row]:
                break
            slot = (slot + 1) & (size - 1)
        else:
            raise ValueError("no slot is free")
        result[row] = values[number] if number >= 0 else 0.0
    return answer


def distinct(const int64_t[::1] codes):
    cdef Sums sums
    cdef Py_ssize_t row
    made = arrays(codes.shape[0], &sums)
    owners = empty(codes.shape[0], dtype=integers)
    cdef int64_t[::1] numbers = owners
    for row in range(codes.shape[0]):
        numbers[row] = add(&sums, codes[row], 0.0)
    return made[0][:sums.size], owners


def givers(
    const int32_t[:, ::1] table,
    const float[:, ::1] weights,
    const int64_t[::1] places,
    const double[::1] strengths,
    const int64_t[::1] chosen,
):
    cdef Sums most
    cdef Py_ssize_t row, column, place, number
    cdef double share
    check_tables(table, weights, places, strengths)
    made = arrays(chosen.shape[0], &most)
    for row in range(chosen.shape[0]):
        add(&most, chosen[row], 0.0)
    who = numpy.zeros(most.size, dtype=integers)
    cdef int64_t[::1] giver = who
    for row in range(places.shape[0]):
        place = within(places[row], table.shape[0])
        for column in range(table.shape[1]):
            number = most.slots[slot_of(table[place, column], most.places, most.slots, most.bits)]
            share = weights[place, column] * strengths[row]
            if number >= 0 and share > most.values[number]:
                most.values[number] = share
                giver[number] = row
    return who
