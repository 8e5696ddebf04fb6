"""Reads, in a process of its own, which readings a DuckDB store holds.

`python -m tests.crash.read_store FILE` prints device, determination time (ms), sequence number and how often
it is stored, tab-separated. It asks the file itself, not the hub's code.
"""

import sys

import duckdb

QUERY = """
SELECT device, _time_ms, _seq, count(*) FROM (
    SELECT _device, _time_ms, _seq FROM readings UNION ALL SELECT _device, _time_ms, _seq FROM readings_old
) JOIN devices ON devices.key = _device GROUP BY ALL
"""


def main() -> None:
    """Print every reading of the file."""
    with duckdb.connect(sys.argv[1], read_only=True) as db:
        for row in db.execute(QUERY).fetchall():
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
