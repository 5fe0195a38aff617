"""Compiles ``services/recommender/domain/kernels`` beside its sources: part of the project's build, and a command.

``python hatch_build.py`` does it alone. What is compiled does not depend on the machine beyond its architecture: no
instruction that only some processors have, no sum in another order, no product and sum rounded once.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
MODULE = "services.recommender.domain.kernels.compiled"
_FLAGS = ["-O3", "-g0", "-ffp-contract=off"]


class CompiledModule(BuildHookInterface):  # type: ignore[type-arg]  # of no config of its own
    """Hatchling's hook, for wheels and for editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compiled = build(Path(self.root))
        build_data |= {"pure_python": False, "infer_tag": True}
        build_data["artifacts"].append(compiled.relative_to(self.root).as_posix())


def build(root: Path = ROOT) -> Path:
    """Compiles, and puts the result in the place of the one before at once: processes may be importing it."""
    source = root / MODULE.replace(".", "/")
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".compiling-") as folder:
        sources = [str(source.with_suffix(".pyx").relative_to(root))]
        here = Path.cwd()
        os.chdir(root)  # paths in the result are relative to it
        try:
            extensions = cythonize(  # type: ignore[no-untyped-call]  # Cython says no types
                [Extension(MODULE, sources, extra_compile_args=_FLAGS)], build_dir=folder, quiet=True, force=True
            )
            command = build_ext(Distribution({"ext_modules": extensions}))
            command.build_lib, command.build_temp = folder, folder
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(here)
        made = Path(folder, command.get_ext_filename(MODULE))
        compiled = source.parent / made.name
        made.replace(compiled)
    return compiled


if __name__ == "__main__":
    build()
