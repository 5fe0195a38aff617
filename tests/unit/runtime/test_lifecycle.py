"""What collections of garbage look at: nothing that was alive when a process began to serve, and few new objects."""

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

# Of each three new objects that are kept, two push an old one out: the collector counts one.
CHURN = """
import collections, gc
from services.runtime.lifecycle import run_service

looked_at = []

def look(phase, info):
    if phase == "start":
        looked_at.append(sum(len(gc.get_objects(one)) for one in range(info["generation"] + 1)))

async def main(stopping, closers):
    kept = collections.deque([] for _ in range(200_000))
    gc.freeze()
    gc.callbacks.append(look)
    for _ in range(60_000):
        kept.extend(([], [], []))
        kept.popleft(), kept.popleft()
    gc.callbacks.clear()
    print(len(looked_at) > 3, max(looked_at))

run_service(main)
"""

# Cycles that have grown old, and what stays as large as it is.
CYCLES = """
import asyncio, gc
from services.runtime import lifecycle

class Node:
    def __init__(self):
        self.itself = self

async def main(stopping, closers):
    full = []
    gc.callbacks.append(lambda phase, info: full.append(info) if phase == "stop" and info["generation"] == 2 else None)
    kept = [[number] for number in range(100_000)]
    await asyncio.sleep(0.2)
    grown = len(full)
    for _ in range(200):
        kept = [[number] for number in range(100_000)]
    await asyncio.sleep(0.2)
    steady = len(full)
    cycles = [Node() for _ in range(1_000_000)]
    gc.collect(1)
    cycles.clear()
    await asyncio.sleep(0.2)
    print(grown, steady, len(full), sum(isinstance(one, Node) for one in gc.get_objects()))

lifecycle.LOOK_SECONDS = 0.01
lifecycle.run_service(main)
"""


def test_all_objects_are_looked_at_when_there_are_many_more_and_not_else() -> None:
    grown, steady, after, left = map(int, run(CYCLES).splitlines()[-1].split())
    assert steady == grown <= 2, "what is young is gone by itself, and a collection of all holds up every request"
    assert after == steady + 1
    assert left == 0


def test_what_is_there_stays_and_what_was_left_is_gone() -> None:
    assert run(PROGRAM).splitlines() == ["before 0", "seen 0", "alive 1"]


def test_a_collection_looks_at_few_objects_however_many_old_ones_go_meanwhile() -> None:
    collected, most = run(CHURN).split()
    assert collected == "True"
    assert int(most) < 20_000, "half a microsecond each, of every process's event loop"


def run(program: str) -> str:
    """What it prints."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout
