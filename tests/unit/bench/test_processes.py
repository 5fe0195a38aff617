"""What processes are found, what they are called, and what they spend."""

import subprocess
import sys

from bench.processes import Meter, names, per_call

_PARENT = """
import subprocess, sys
from time import process_time
child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=sys.stdin)
while process_time() < 0.3:
    pass
print(child.pid, flush=True)
child.wait()
"""


def test_what_has_no_name_is_its_parents_and_what_it_spends_too() -> None:
    command = [sys.executable, "-c", _PARENT, "bin/feast"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        meter = Meter({parent.pid: "feast"})
        said = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        child = int(max(said, key=len))
        # Whichever of them is named as well: each is counted once.
        assert names(child, parent.pid) == names(parent.pid) == {parent.pid: "feast", child: "feast"}
        assert names(child) == {child: "other"}
        assert meter.spent()["feast"] > 0.2
        parent.stdin.write("\n")


def test_cost_is_per_call_and_leaves_out_who_did_nothing() -> None:
    assert per_call({"gateway": 0.5, "worker": 0.0}, 1_000, 1e6) == {"gateway": 500.0, "all": 500.0}
    assert per_call({"gateway": 0.5}, 0, 1_000)["all"] == 500.0
