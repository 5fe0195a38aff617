"""Learning leaves the processors to others."""

import os
import subprocess
import sys

PROGRAM = """
import os, pathlib
from services.recommender.training.learning.priority import stand_back
stand_back()
session = pathlib.Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), os.getsid(0) == os.getpid(), session.read_text() if session.exists() else "")
"""


def test_a_process_that_stands_back_goes_last_among_processes_and_among_sessions() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout

    niceness, leads, *session = said.split()
    assert (int(niceness), leads) == (min(19, own + 10), "True")
    assert session[-2:] in (["nice", "10"], [])  # nothing: a system that shares among processes alone
    assert os.getpriority(os.PRIO_PROCESS, 0) == own  # of that process alone
