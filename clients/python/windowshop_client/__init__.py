"""A typed asynchronous client of windowshop, and the `windowshop` command built on it.

It speaks the public contract alone and knows nothing of how the services keep it.
"""

from windowshop_client.client import Client, connect
from windowshop_client.errors import Violation, WindowshopError

__all__ = ["Client", "Violation", "WindowshopError", "connect"]
