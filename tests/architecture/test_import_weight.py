"""A process that serves imports what serving needs: a second of imports is a second until it answers."""

import subprocess
import sys

import pytest

# What learns, exports or draws, each in a process or a command of its own.
LEARNING = {"implicit", "lightgbm", "scipy", "sklearn", "pandas", "pyarrow", "matplotlib"}
# Loaded in a thread while the database is waited for.
TEXT_MODEL = {"wordllama", "tokenizers", "safetensors"}
STORES = {"asyncpg", "psycopg", "redis", "pgvector", "yoyo"}
# Of the tests and the tools.
TOOLS = {"pytest", "hypothesis", "click", "mypy"}

UNWANTED = {
    "gateway.app": LEARNING | TEXT_MODEL | STORES | TOOLS | {"numpy", "services.features", "services.recommender"},
    "services.features.app": LEARNING | TEXT_MODEL | TOOLS | {"pgvector", "gateway", "services.recommender"},
    "services.recommender.app": LEARNING | TEXT_MODEL | TOOLS | {"redis", "gateway", "services.features"},
}


@pytest.mark.parametrize("module", UNWANTED)
def test_a_server_imports_what_it_serves_with(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    imported = set(ended.stdout.split())

    assert module in imported
    assert sorted(imported & UNWANTED[module]) == []
