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

# What grows: by what stays, or by cycles that have grown old, of a process that works or rests.
GROWING = """
import asyncio, gc, sys
from services.runtime import lifecycle

class Node:
    def __init__(self):
        self.itself = self

async def work(until):
    while not until.is_set():
        sum(range(10_000))
        await asyncio.sleep(0)

async def looks(working):
    done = asyncio.Event()
    task = asyncio.create_task(work(done) if working else done.wait())
    await asyncio.sleep(1.2)
    done.set()
    await task
    return len(full)

async def main(stopping, closers):
    at_first = sys.getallocatedblocks()
    gc.callbacks.append(lambda phase, info: full.append(info) if phase == "stop" and info["generation"] == 2 else None)
    steady = await looks(working=False)
    kept = [[number] for number in range(at_first)]
    at_work = await looks(working=True)
    at_rest = await looks(working=False)
    cycles = [Node() for _ in range(at_first * 30)]
    gc.collect(1)
    cycles.clear()
    after = await looks(working=True)
    print(steady, at_work, at_rest, after, sum(isinstance(one, Node) for one in gc.get_objects()))

full = []
lifecycle.LOOK_SECONDS = 0.25
lifecycle.run_service(main)
"""


def test_all_objects_are_looked_at_when_there_are_many_more_and_at_work_not_before_it_must_be() -> None:
    steady, at_work, at_rest, after, left = map(int, run(GROWING).splitlines()[-1].split())
    assert steady == 0, "a process as large as ever leaves nothing behind"
    assert at_work == 0, "a collection of all holds up every request"
    assert at_rest == 1
    assert after == 2
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
