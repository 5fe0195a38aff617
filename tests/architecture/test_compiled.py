"""Rules for what is compiled: few lines that import nothing, behind one module that says how to compile them."""

import ast
import re
import subprocess
import sys

import pytest

from tests.support.source_tree import ROOT, importers_of, repository_files, text_of

PACKAGE = "services/recommender/domain/kernels"
FRONT = f"{PACKAGE}/__init__.py"
MODULE = f"{PACKAGE.replace('/', '.')}.compiled"
SOURCES = [path for path in repository_files() if path.endswith((".pyx", ".pxi", ".pxd", ".c", ".so"))]


def test_one_module_is_compiled_and_the_build_knows_it() -> None:
    included = re.findall(r'^include "(.*)"$', text_of(f"{PACKAGE}/compiled.pyx"), re.MULTILINE)

    assert sorted(SOURCES) == sorted(f"{PACKAGE}/{name}" for name in ("compiled.pyx", *included))
    assert f'"{MODULE}"' in text_of("hatch_build.py")


def test_make_compiles_anew_when_a_source_changes() -> None:
    database = subprocess.run(["make", "-pnq", "help"], cwd=ROOT, check=False, capture_output=True, text=True).stdout
    stamp = re.search(r"^\.venv/\.installed: (.*)$", database, re.MULTILINE)

    assert stamp is not None
    assert {*SOURCES, "hatch_build.py", "pyproject.toml", "requirements.lock"} <= set(stamp[1].split())


def test_what_is_compiled_imports_numpy_and_the_c_library_at_most() -> None:
    imports = {
        name.split(".")[0]
        for path in SOURCES
        for name in re.findall(r"^\s*(?:from|c?import)\s+(\S+)", text_of(path), re.MULTILINE)
    }

    assert imports == {"numpy", "libc"}


def test_it_has_types_and_one_door() -> None:
    """Each function is public in all three places, and imported from the package alone."""
    defined = [name for path in SOURCES for name in re.findall(r"^def (\w+)\(", text_of(path), re.MULTILINE)]
    types = ast.parse(text_of(f"{PACKAGE}/compiled.pyi")).body
    typed = [node for node in types if isinstance(node, ast.FunctionDef)]
    exported = re.search(r"^__all__ = \[(.*?)\]", text_of(FRONT), re.MULTILINE | re.DOTALL)

    assert exported is not None
    assert sorted(defined) == sorted(node.name for node in typed) == sorted(re.findall(r'"(\w+)"', exported[1]))
    assert [node.name for node in typed if not ast.get_docstring(node)] == []
    assert importers_of(MODULE) == {FRONT}


@pytest.mark.parametrize("there", ["None", "type(sys)('an older one')"])
def test_who_has_it_not_or_an_older_one_is_told_what_to_do(there: str) -> None:
    program = f"import sys; sys.modules[{MODULE!r}] = {there}; import {PACKAGE.replace('/', '.')}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("run `make setup`")
