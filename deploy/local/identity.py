"""Under which user a server runs that refuses root."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# Debian and Red Hat both give 65534 to nobody; the number need not exist in /etc/passwd.
_NOBODY = 65534
_UNSHARE = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}")


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
    if shutil.which("unshare") and _succeeds(*_UNSHARE, "true"):
        # Still root on the disk, so folders that only root may enter work; not root to the program.
        return Identity(prefix=_UNSHARE)
    return Identity(popen={"user": _NOBODY, "group": _NOBODY, "extra_groups": []}, owner=_NOBODY)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
