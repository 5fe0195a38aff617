"""Becomes another program that dies with its parent: `launch.py SIGNAL PARENT_PID PROGRAM [ARGUMENT ...]`.

Run as a script (`python -I -S launch.py`), after every change of user: the kernel forgets the death signal
when credentials change. Only Linux has it; elsewhere the program runs without.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, check that the parent is still there, become the program."""
    death_signal, parent, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before we asked: no signal will come
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - becoming the given program is all this script does


if __name__ == "__main__":
    main()
