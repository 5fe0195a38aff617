"""What must hold before anything is started; a mistake is one clear sentence."""

import fcntl
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.child import StartError


def check_ports(ports: Mapping[str, int]) -> None:
    """Raises StartError that names each port which is taken, or given twice, with its environment name."""
    uses = Counter(ports.values())
    problems = [f"{name} is {port}, and so is another one" for name, port in ports.items() if uses[port] > 1]
    problems += [
        f"port {port} is taken: stop what listens there, or set {name} to another one"
        for name, port in ports.items()
        if uses[port] == 1 and _taken(port)
    ]
    if problems:
        raise StartError("\n".join(problems))


@contextmanager
def data_folder(path: Path) -> Iterator[Path]:
    """The folder, made when there is none, and ours alone until the end of the block."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"WINDOWSHOP_DATA_DIR {path} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"another windowshop runs with the data in {path}; stop it, or set WINDOWSHOP_DATA_DIR"
            ) from error
        yield path.resolve()
    finally:
        os.close(lock)


def _taken(port: int) -> bool:
    """Whether somebody listens there, on any interface and of either protocol version."""
    for family, host in ((socket.AF_INET6, "::"), (socket.AF_INET, "")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            # A machine without IPv6 is no reason to call the port taken.
            if family == socket.AF_INET6 and error.errno in _NO_IPV6:
                continue
            return True
    return False


_NO_IPV6 = (97, 99)  # EAFNOSUPPORT, EADDRNOTAVAIL
