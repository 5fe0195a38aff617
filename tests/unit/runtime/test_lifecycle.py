"""What is alive when a process begins to serve is looked at by the garbage collector no more."""

import subprocess
import sys

# In a process of its own: freezing this one would keep what other tests leave behind.
PROGRAM = """
import asyncio, gc
from services.runtime.lifecycle import freeze, run_service

class Node:
    def __init__(self):
        self.itself = self

def seen():
    return sum(isinstance(one, Node) for one in gc.get_objects())

async def main(stopping, closers):
    kept = Node()
    Node()
    freeze()
    print("seen", seen())
    gc.unfreeze()
    print("alive", seen())

freeze()
print("before", gc.get_freeze_count())
run_service(main)
"""


def test_what_is_there_stays_and_what_was_left_is_gone() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)

    assert ended.stdout.splitlines() == ["before 0", "seen 0", "alive 1"]
