# The best of many: a heap with the least of them on top. Which one is better is always decided, by the place if by
# nothing else, so the result does not depend on how it is found.

cdef double TINIEST = 5e-324
cdef double LEAST = float("-inf")


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
    # One comparison for each of those that are not good enough, which are most.
    cdef double least = found.scores[0] if 0 < found.size == found.limit else TINIEST
    for row in range(more.shape[0]):
        if their_scores[row] >= least and (all_shown or shown[within(more[row], shown.shape[0])]):
            offer(&found, their_scores[row], more[row])
            if found.size == found.limit:
                least = found.scores[0]
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
