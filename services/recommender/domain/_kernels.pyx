# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""See kernels.py. Every index that comes from outside is looked at before it is used: nothing else does it here."""

import numpy

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from *:
    # Of GCC and Clang: how many zeros a number ends with, which is not 0 itself.
    int ending_zeros "__builtin_ctzll" (unsigned long long number) nogil

ctypedef fused Bits:
    uint16_t
    uint32_t
    uint64_t

cdef enum:
    ROWS = 64  # at once: what is ruled out of them stays in the innermost cache

cdef object empty = numpy.empty
cdef object integers = numpy.int64


def leaves(
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
    found = numpy.empty((rows, trees))
    cdef double[:, ::1] result = found
    if not (features.shape[0] == thresholds.shape[0] == masks.shape[0]) or starts.shape[0] != trees + 1 or most > wide:
        raise ValueError("the arrays of the splits differ in length")
    if starts[trees] != features.shape[0] or most == 0:
        raise ValueError("the trees have other splits")
    for start in range(0, rows, ROWS):
        end = min(<Py_ssize_t>ROWS, rows - start)
        split = 0
        for tree in range(trees):
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
                result[start + row, tree] = values[tree, min(leaf, most - 1)]
    return found


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


cdef inline Py_ssize_t slot_of(int64_t place, const int64_t* places, const int32_t* slots, int bits) noexcept nogil:
    """Where a place is, or would be (Fibonacci hashing)."""
    cdef Py_ssize_t slot = <Py_ssize_t>((<uint64_t>place * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits))
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
        for column in range(width):
            add(&sums, table[place, column], weights[place, column] * strengths[row])
    return made[0][:sums.size], made[1][:sums.size], made[2]


def look_up(const int64_t[::1] places, const double[::1] values, const int32_t[::1] slots, const int64_t[::1] wanted):
    cdef Py_ssize_t row
    cdef int32_t number
    cdef int bits = ending_zeros(slots.shape[0])
    if slots.shape[0] != 1 << bits or slots.shape[0] < 2 * places.shape[0] or places.shape[0] != values.shape[0]:
        raise ValueError("not what was added up")
    answer = empty(wanted.shape[0])
    cdef double[::1] result = answer
    for row in range(wanted.shape[0]):
        number = slots[slot_of(wanted[row], &places[0], &slots[0], bits)]
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


cdef inline Py_ssize_t within(int64_t place, Py_ssize_t size) except -1:
    """A place in an array; a negative one is counted from its end, as numpy does."""
    if not -size <= place < size:
        raise IndexError("a place outside of the arrays")
    return <Py_ssize_t>(place + size if place < 0 else place)


# The best of many: a heap with the least of them on top. Which one is better is always decided, by the place if by
# nothing else, so the result does not depend on how it is found.

cdef struct Best:
    double* scores
    int64_t* places
    Py_ssize_t size
    Py_ssize_t limit


cdef tuple room(Py_ssize_t limit, Py_ssize_t most, Best* best):
    """For at most ``limit`` or ``most``, whichever is less."""
    limit = max(0, min(limit, most))
    made = empty(max(1, limit), dtype=integers), empty(max(1, limit))
    cdef int64_t[::1] places = made[0]
    cdef double[::1] scores = made[1]
    best.places, best.scores, best.size, best.limit = &places[0], &scores[0], 0, limit
    return made


cdef inline bint behind(double score, int64_t place, double other, int64_t other_place) noexcept nogil:
    return score < other or (score == other and place > other_place)


cdef inline void put(Best* best, Py_ssize_t at, double score, int64_t place) noexcept nogil:
    best.scores[at] = score
    best.places[at] = place


cdef inline void sink(Best* best, Py_ssize_t size, double score, int64_t place) noexcept nogil:
    """Puts it on top of the first ``size``, and from there to where it belongs."""
    cdef Py_ssize_t at = 0, below
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and behind(
            best.scores[below + 1], best.places[below + 1], best.scores[below], best.places[below]
        ):
            below += 1
        if not behind(best.scores[below], best.places[below], score, place):
            break
        put(best, at, best.scores[below], best.places[below])
        at = below
    put(best, at, score, place)


cdef inline void offer(Best* best, double score, int64_t place) noexcept nogil:
    cdef Py_ssize_t at, above
    if best.size == best.limit:
        if best.size and behind(best.scores[0], best.places[0], score, place):
            sink(best, best.size, score, place)
        return
    at = best.size
    best.size += 1
    while at:
        above = (at - 1) // 2
        if not behind(score, place, best.scores[above], best.places[above]):
            break
        put(best, at, best.scores[above], best.places[above])
        at = above
    put(best, at, score, place)


cdef tuple in_order(Best* best, tuple made):
    """The best first."""
    cdef Py_ssize_t end
    cdef double score
    cdef int64_t place
    for end in range(best.size - 1, 0, -1):
        score, place = best.scores[end], best.places[end]
        put(best, end, best.scores[0], best.places[0])
        sink(best, end, score, place)
    return made[0][: best.size], made[1][: best.size]


cdef inline const uint8_t[::1] flags(object allowed):
    return None if allowed is None else allowed.view(numpy.uint8)


def best(const int64_t[::1] places, const double[::1] scores, Py_ssize_t limit, allowed=None, double above=0.0):
    cdef Best found
    cdef Py_ssize_t row
    cdef const uint8_t[::1] shown = flags(allowed)
    cdef bint all_shown = allowed is None
    if places.shape[0] != scores.shape[0]:
        raise ValueError("not a score for each place")
    made = room(limit, places.shape[0], &found)
    for row in range(places.shape[0]):
        if scores[row] > above and (all_shown or shown[within(places[row], shown.shape[0])]):
            offer(&found, scores[row], places[row])
    return in_order(&found, made)


def better(
    const int64_t[::1] places,
    const double[::1] scores,
    const int64_t[::1] more,
    const float[::1] their_scores,
    Py_ssize_t limit,
    allowed=None,
):
    cdef Best found
    cdef Py_ssize_t row
    cdef const uint8_t[::1] shown = flags(allowed)
    cdef bint all_shown = allowed is None
    if places.shape[0] != scores.shape[0] or more.shape[0] != their_scores.shape[0]:
        raise ValueError("not a score for each place")
    made = room(limit, places.shape[0] + more.shape[0], &found)
    for row in range(places.shape[0]):
        offer(&found, scores[row], places[row])
    for row in range(more.shape[0]):
        if their_scores[row] > 0 and (found.size < found.limit or their_scores[row] >= found.scores[0]):
            if all_shown or shown[within(more[row], shown.shape[0])]:
                offer(&found, their_scores[row], more[row])
    return in_order(&found, made)


def best_of_shelves(
    const int64_t[::1] places,
    const double[::1] scores,
    const int64_t[::1] starts,
    const double[::1] shares,
    Py_ssize_t limit,
    allowed=None,
):
    cdef Best found
    cdef Py_ssize_t shelf, row, end
    cdef double score
    cdef const uint8_t[::1] shown = flags(allowed)
    cdef bint all_shown = allowed is None
    if places.shape[0] != scores.shape[0] or starts.shape[0] != shares.shape[0] + 1:
        raise ValueError("the arrays differ in length")
    made = room(limit, places.shape[0], &found)
    for shelf in range(shares.shape[0]):
        if not shares[shelf] > 0:
            continue
        end = starts[shelf + 1]
        if not 0 <= starts[shelf] <= end <= places.shape[0]:
            raise IndexError("a shelf outside of the arrays")
        for row in range(starts[shelf], end):
            score = shares[shelf] * scores[row]
            # What stands below on a shelf is no larger.
            if not score > 0 or (found.size == found.limit and score < found.scores[0]):
                break
            if all_shown or shown[within(places[row], shown.shape[0])]:
                offer(&found, score, places[row])
    return in_order(&found, made)


def longer(const double[::1] lengths, double length):
    cdef Py_ssize_t low = 0, high = lengths.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if lengths[middle] >= length and lengths[middle] > 0:
            low = middle + 1
        else:
            high = middle
    return low


def falling(const double[::1] scores, ids):
    cdef Best found
    cdef Py_ssize_t row, start = 0, size = scores.shape[0]
    made = room(size, size, &found)
    for row in range(size):
        offer(&found, scores[row], row)
    in_order(&found, made)
    rows = made[0][:size].tolist()
    for row in range(1, size + 1):
        if row == size or found.scores[row] != found.scores[start]:
            if row - start > 1:
                rows[start:row] = sorted(rows[start:row], key=ids.__getitem__)
            start = row
    return rows



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
        rank, end = 0, hit + counts[number]
        if not hit <= end <= size:
            raise IndexError("more hits than there are")
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
