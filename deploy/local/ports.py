"""Whether the ports that the stack needs are free."""

import asyncio
import errno
import socket
from collections.abc import Mapping
from contextlib import suppress


def taken(ports: Mapping[str, int]) -> dict[str, str]:
    """Name -> complaint, for each port on which we could not listen. A name begins with that of its setting."""
    complaints = {}
    for name, port in ports.items():
        error = _bind_error(port)
        if error is None:
            continue
        choose = f"choose another one by {name.split()[0]}=<port>"
        if error.errno == errno.EADDRINUSE:
            complaints[name] = f"port {port} is taken; {choose}"
        else:
            complaints[name] = f"port {port} cannot be used ({error.strerror}); {choose}"
    return complaints


async def wait_free(ports: Mapping[str, int], timeout: float) -> dict[str, str]:
    """As `taken`, after giving whoever has them `timeout` seconds to leave."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        complaints = taken(ports)
        if not complaints or asyncio.get_running_loop().time() >= deadline:
            return complaints
        await asyncio.sleep(0.1)


def _bind_error(port: int) -> OSError | None:
    """Listen on every interface, IPv4 and IPv6, as the services do; a listener on any of them is in the way."""
    with socket.socket() as four:
        # Else connections that ended a minute ago would count as taken.
        four.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            four.bind(("0.0.0.0", port))  # noqa: S104 - closed at once
            four.listen(1)
        except OSError as error:
            return error
    if socket.has_ipv6:
        with suppress(OSError), socket.socket(socket.AF_INET6) as six:  # no such addresses on this machine: fine
            six.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                six.bind(("::", port))
                six.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return error
    return None
