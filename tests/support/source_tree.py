"""The repository as text and syntax trees, for the tests that hold its structure to the rules."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "proto/gen/"


@lru_cache(maxsize=1)
def repository_files() -> tuple[str, ...]:
    """Paths of every file that is, or would be, in the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return tuple(sorted(path for path in set(listing.stdout.splitlines()) if (ROOT / path).is_file()))


def python_files(*folders: str) -> list[str]:
    """Our Python files (none that is generated), of these folders or of all."""
    return [
        path
        for path in repository_files()
        if path.endswith(".py")
        and not path.startswith(GENERATED)
        and (not folders or path.startswith(tuple(folder.rstrip("/") + "/" for folder in folders)))
    ]


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(text_of(path), path)


def package_of(path: str) -> list[str]:
    """The dotted package that a file's relative imports start from."""
    return path.split("/")[:-1]


def imports_of(path: str) -> Iterator[str]:
    """Dotted names that a file imports, `from a import b` as `a.b`; those for type checking too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def importers_of(module: str) -> set[str]:
    """Files outside the tests that import this module, its names or its submodules."""
    return {
        path
        for path in python_files("services", "gateway", "deploy", "clients", "bench", "docs")
        if any(name == module or name.startswith(module + ".") for name in imports_of(path))
    }
