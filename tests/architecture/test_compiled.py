"""Rules for what is compiled: few lines that import nothing, behind one module that says how to compile them."""

import ast
import re
import subprocess
import sys

import pytest

from tests.support.source_tree import importers_of, repository_files, text_of

FRONT = "services/recommender/domain/kernels.py"
COMPILED = "services/recommender/domain/_kernels"


def test_one_module_is_compiled_and_the_build_knows_it() -> None:
    sources = [path for path in repository_files() if path.endswith((".pyx", ".pxd", ".c", ".so"))]

    assert sources == [f"{COMPILED}.pyx"]
    assert COMPILED.replace("/", ".") in text_of("hatch_build.py")
    # `make` compiles it anew when it changes.
    assert re.search(rf"^COMPILED := .*{re.escape(sources[0])}$", text_of("Makefile"), re.MULTILINE)


def test_what_is_compiled_imports_numpy_and_the_c_library_at_most() -> None:
    imports = re.findall(r"^\s*(?:from|import|cimport)\s+(\S+)", text_of(f"{COMPILED}.pyx"), re.MULTILINE)

    assert {name.split(".")[0] for name in imports} <= {"numpy", "libc"}


def test_it_has_types_and_one_door() -> None:
    """Each function is public in all three files, and imported from the front alone."""
    defined = re.findall(r"^def (\w+)\(", text_of(f"{COMPILED}.pyx"), re.MULTILINE)
    typed = [node for node in ast.parse(text_of(f"{COMPILED}.pyi")).body if isinstance(node, ast.FunctionDef)]
    exported = re.search(r"^__all__ = \[(.*?)\]", text_of(FRONT), re.MULTILINE | re.DOTALL)

    assert exported is not None
    assert sorted(defined) == sorted(node.name for node in typed) == sorted(re.findall(r'"(\w+)"', exported[1]))
    assert [node.name for node in typed if not ast.get_docstring(node)] == []
    assert importers_of(COMPILED.replace("/", ".")) == {FRONT}


@pytest.mark.parametrize("there", ["None", "type(sys)('an older one')"])
def test_who_has_it_not_or_an_older_one_is_told_what_to_do(there: str) -> None:
    name = COMPILED.replace("/", ".")
    program = f"import sys; sys.modules[{name!r}] = {there}; import {FRONT.removesuffix('.py').replace('/', '.')}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("run `make setup`")
