"""Under which user a server runs that refuses root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A way to start a program: words before the command, arguments of Popen, owner of its files."""

    prefix: tuple[str, ...] = ()
    popen: Mapping[str, object] = field(default_factory=dict)
    owner: int | None = None

    def own(self, folder: Path) -> None:
        """Give the folder and everything in it to the user who will work there."""
        if self.owner is None:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.owner, self.owner, follow_symlinks=False)


@cache
def unprivileged() -> Identity:
    """As ourselves, unless we are root: then in a user namespace, and where that is forbidden as nobody."""
    if os.geteuid() != 0:
        return Identity()
    user = _nobody()
    unshare = ("unshare", "--user", f"--map-user={user}", f"--map-group={user}")
    if shutil.which("unshare") and _succeeds(*unshare, "true"):
        # Still root on the disk, so folders that only root may enter work; not root to the program.
        return Identity(prefix=unshare)
    return as_user(user)


def as_user(user: int) -> Identity:
    """Really as another user: the interpreter, the wheels and the data folder must lie where that one may go."""
    return Identity(popen={"user": user, "group": user, "extra_groups": []}, owner=user)


def _nobody() -> int:
    """A user without rights. It must be one that the machine knows: initdb looks its name up."""
    known = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0}
    return known.get("nobody") or min(known.values(), default=65534)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
