"""What keeps parts running, with real processes."""

import pytest

from deploy.local.child import Child, StartError
from deploy.local.report import Report
from deploy.local.supervisor import Supervisor
from tests.support.waiting import eventually


class Sleeper:
    """A process that sleeps. Its second start fails after the process was made."""

    name = "sleeper"

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.children: list[Child] = []

    @property
    def child(self) -> Child:
        return self.children[-1]

    async def start(self) -> None:
        self.children.append(await Child.start(["sleep", "600"], log=None))
        if len(self.children) == 2:
            if isinstance(self._failure, StartError):  # says that nothing is left running
                await self.stop()
            raise self._failure

    async def stop(self) -> None:
        await self.child.stop(grace=5)


class Notes(Report):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("failure", [StartError("no legs"), ConnectionRefusedError("no legs"), KeyError("no legs")])
async def test_whatever_fails_a_restart_the_next_one_is_tried(failure: Exception) -> None:
    part, notes = Sleeper(failure), Notes()
    supervisor = Supervisor(notes)
    await supervisor.start([part])
    try:
        part.child.kill()
        await eventually(lambda: "sleeper is back" in notes.lines, timeout=10)
    finally:
        await supervisor.stop()
    assert any("no legs" in line for line in notes.lines)
    assert len(part.children) == 3
    assert all(child.returncode is not None for child in part.children)
