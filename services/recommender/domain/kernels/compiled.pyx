# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""What each function does is said in compiled.pyi. Every index that comes from outside is looked at before it is used:
nothing else does it here."""

import numpy

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from *:
    # Of GCC and Clang: how many zeros a number ends with, which is not 0 itself; and the promise to read what is there.
    int ending_zeros "__builtin_ctzll" (unsigned long long number) nogil
    void fetch "__builtin_prefetch" (const void* address) nogil

cdef object empty = numpy.empty
cdef object integers = numpy.int64


cdef inline Py_ssize_t within(int64_t place, Py_ssize_t size) except -1:
    """A place in an array; a negative one is counted from its end, as numpy does."""
    if not -size <= place < size:
        raise IndexError("a place outside of the arrays")
    return <Py_ssize_t>(place + size if place < 0 else place)


cdef inline void fetch_row(const void* row, Py_ssize_t size) noexcept nogil:
    """Rows of large tables are far away: they are asked for while those before them are worked on."""
    cdef Py_ssize_t at
    for at in range(0, size, 64):
        fetch(<const char*>row + at)


include "products.pxi"
include "leaves.pxi"
include "sums.pxi"
include "best.pxi"
include "fusion.pxi"
