"""Rules for every source file."""

import ast
import re
import stat

import pytest

from tests.support.source_tree import GENERATED, ROOT, python_files, repository_files, text_of, tree_of

LONGEST_FILE = 400
LONGEST_FUNCTION = 70


def offenders(pattern: str, *, suffixes: tuple[str, ...] = ()) -> list[str]:
    """`path:line: text` of every line that matches, in files of ours and of the lock."""
    found = []
    for path in repository_files():
        if path.startswith(GENERATED) or (suffixes and not path.endswith(suffixes)):
            continue
        try:
            text = text_of(path)
        except UnicodeDecodeError:
            continue
        found += [
            f"{path}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, line)
        ]
    return found


def test_the_repository_is_seen() -> None:
    assert len(python_files("services")) > 20
    assert "Makefile" in repository_files()


def test_files_can_be_read_in_one_sitting() -> None:
    sources = [
        p
        for p in repository_files()
        if p.endswith((".py", ".pyx", ".pxi", ".sql", ".proto")) and not p.startswith(GENERATED)
    ]
    lengths = {path: text_of(path).count("\n") for path in sources}

    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_every_package_introduces_itself() -> None:
    """A package's docstring says what it promises; tests speak for themselves."""
    packages = [
        path
        for path in python_files("services", "gateway", "deploy", "clients", "bench")
        if path.endswith("__init__.py")
    ]

    assert [path for path in packages if not ast.get_docstring(tree_of(path))] == []


# Written in pieces, so that this file does not find itself.
UNFINISHED = "|".join(("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"))
SKIPPED = r"pytest\.mark\.(skip|x" + r"fail)|pytest\.(skip|x" + r"fail)\(|importor" + "skip"
BARE_IGNORE = r"#\s*type: ign" + r"ore(?!\[)|#\s*no" + r"qa(?!: [A-Z]+\d+)"
MACHINE_PATH = r"(?<![\w./<>-])/(work|root|home|Users)" + r"/\w"
REGISTRY_HOST = "|".join(
    ("pypi" + r"\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", "index" + "-url [^-]", "crates" + r"\.io")
)


@pytest.mark.parametrize(
    ("what", "pattern", "suffixes"),
    [
        (
            "nothing is left to do",
            rf"\b({UNFINISHED})\b",
            (".py", ".pyx", ".pxi", ".sql", ".proto", ".toml", ".yaml", ".md"),
        ),
        ("no test is switched off", SKIPPED, (".py",)),
        ("an ignored finding names itself", BARE_IGNORE, (".py",)),
        ("no path of somebody's machine", MACHINE_PATH, ()),
        ("no registry host", REGISTRY_HOST, ()),
    ],
)
def test_no_line_says(what: str, pattern: str, suffixes: tuple[str, ...]) -> None:
    found = offenders(pattern, suffixes=suffixes)

    assert not found, what + ":\n" + "\n".join(found)


def test_a_test_that_sleeps_says_why() -> None:
    """Waiting is for a condition (tests/support/waiting.py); what time alone can show is rare and explained."""
    silent = [
        f"{path}:{node.lineno}"
        for path in python_files("tests")
        if path.rpartition("/")[2].startswith("test_")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"asyncio.sleep", "time.sleep", "sleep"}
        and [ast.unparse(argument) for argument in node.args] != ["0"]  # a turn for the others, no time
        and "#" not in text_of(path).splitlines()[node.lineno - 1]
    ]

    assert silent == []


def test_generated_code_is_what_the_protos_make() -> None:
    """That its content is fresh is checked by `make proto-check`; that nothing else lies there, here."""
    protos = [p.removeprefix("proto/").removesuffix(".proto") for p in repository_files() if p.endswith(".proto")]
    made = {f"{GENERATED}{p}{end}" for p in protos for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")}
    there = {path for path in repository_files() if path.startswith(GENERATED)}
    inits = {path for path in there if path.endswith("__init__.py")}

    assert there - inits == made
    assert [path for path in inits if text_of(path)] == []
    for path in made:
        head = text_of(path)[:400].lower()
        assert "generated" in head, path


def test_scripts_can_be_executed() -> None:
    scripts = [path for path in repository_files() if path == ".ci/run" or path.endswith(".sh")]

    assert ".ci/run" in scripts
    for path in scripts:
        assert (ROOT / path).stat().st_mode & stat.S_IXUSR, path
