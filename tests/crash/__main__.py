"""`make crash`: the long form; `--short` is what CI runs."""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

from msgspec import to_builtins

from tests.crash.run import LONG, SHORT, Result, Say, Size, run_all


def main() -> int:
    """Run the crash test; 0 when nothing was lost, doubled or late."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="write the result here")
    options.add_argument("--short", action="store_true", help="a minute or two in place of many")
    options.add_argument("--part", action="append", help="kills, full or backlog alone; may be repeated")
    chosen = options.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="wardhub-crash-") as folder:
        size = SHORT if chosen.short else LONG
        result = asyncio.run(_run(Path(folder), size, say, chosen.part))
    line = json.dumps(to_builtins(result))
    if chosen.json:
        chosen.json.write_text(line + "\n")
    print(line)
    return 1 if result.lost or result.doubled or result.late_alarms else 0


async def _run(folder: Path, size: Size, say: Say, parts: list[str] | None) -> Result:
    # Clients whose broker is killed under them complain in many ways; what counts is the comparison.
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
    logging.disable(logging.ERROR)
    return await run_all(folder, size, say, parts)


if __name__ == "__main__":
    sys.exit(main())
