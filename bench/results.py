"""Where the figures of a run go, and on what machine they were made."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def circumstances() -> dict[str, Any]:
    """When and on what machine; call it before the work begins: the load is that of the others on the machine."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
            "load_1m_before": round(os.getloadavg()[0], 2),
        },
        "note": "driver, services and stores share the machine",
    }


def publish(result: Mapping[str, Any], output: Path) -> None:
    """Writes the file and prints the result as the last line."""
    output.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(result)
    output.write_text(line + "\n")
    print(line)


def percentile(milliseconds: list[float], percent: int) -> float:
    """The value that `percent` of the sample do not exceed (nearest rank), rounded to 0.01; 0 for no sample."""
    if not milliseconds:
        return 0.0
    ordered = sorted(milliseconds)
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 2)
