"""`python -m bench`: all benches, one after the other; `python -m bench NAME`: one of them.

Each starts what it measures on ports and folders of its own, stops it, and prints one JSON object as its last line.
"""

import json
import subprocess
import sys
from typing import Any

import click

from bench import (
    appending,
    computing,
    deciding,
    demo,
    features,
    hop,
    ingest,
    quality,
    reads,
    recommend,
    refresh,
    remembered,
    soak,
    start,
)
from bench.results import FOLDER, publish

BENCHES = {
    "features": features.command,
    "reads": reads.command,
    "recommend": recommend.command,
    "ingest": ingest.command,
    "refresh": refresh.command,
    "quality": quality.command,
}
"""In the order in which they run."""


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Runs all of BENCHES; with a name one. Exits 1 when one of them does."""
    if context.invoked_subcommand:
        return
    results: dict[str, Any] = {}
    failed = []
    for name in BENCHES:
        click.echo(f"{name} ...", err=True)
        line, code = run(name)
        results[name] = json.loads(line) if line.startswith("{") else None
        if code:
            failed.append(name)
    publish(results, FOLDER / "bench.json")
    if failed:
        raise click.ClickException(f"figures are missing, or not to be believed: {', '.join(failed)}")


_ALONE = {
    "appending": appending.command,
    "computing": computing.command,
    "deciding": deciding.command,
    "hop": hop.command,
    "demo": demo.command,
    "remembered": remembered.command,
    "soak": soak.command,
    "start": start.command,
}

for _name, _command in {**BENCHES, **_ALONE}.items():
    main.add_command(_command, _name)


def run(name: str) -> tuple[str, int]:
    """In a process of its own, so that none measures beside the remains of another; its last line and exit code."""
    last = ""
    with subprocess.Popen([sys.executable, "-m", "bench", name], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            click.echo(last, nl=False, err=True)
            last = line
    return last, process.returncode


if __name__ == "__main__":
    main()
