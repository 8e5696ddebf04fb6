"""Checks definition files before a hub is to load them: behind `hub devices check`."""

from collections.abc import Sequence
from pathlib import Path

from hub.devices import definition_file
from hub.devices.problem import Problem


def check(paths: Sequence[Path]) -> list[Problem]:
    """Return all that is wrong (`error`) or doubtful (`warning`) in files and in the `*.toml` of folders."""
    problems: list[Problem] = []
    for path in paths:
        if not path.exists():
            problems.append(
                Problem(str(path), 0, "", "doesn't exist: name a definition file or a folder of them")
            )
            continue
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not files:
            problems.append(Problem(str(path), 0, "", "holds no *.toml", "warning"))
        for file in files:
            problems += definition_file.read(file)[1]
    return problems
