#!/usr/bin/env python3
"""Runs the benchmarks and writes bench/results/DATE.md: `make bench`, `make bench ROWS="1 2"`, `make bench QUICK=1`."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import load, report  # noqa: E402
from harness.rows import ROWS  # noqa: E402
from harness.world import BENCH, World  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="numbers of rows; all when none is given")
    parser.add_argument("--quick", action="store_true", help="short rounds: to see that everything works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of one round of one peer")
    parser.add_argument("--only", help="names of peers, separated by ';': all others are left out")
    parser.add_argument("--out", type=Path, default=BENCH / "results")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 2, 1
    unknown = [row for row in arguments.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}: there are {', '.join(ROWS)}")
    say = lambda text: print(text, flush=True)  # noqa: E731

    results = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        world = World(Path(folder))
        services = world.start_services()
        try:
            for number in arguments.rows or ROWS:
                row = ROWS[number]
                if arguments.only:
                    wanted = arguments.only.split(";")
                    row.works = {name: work for name, work in row.works.items() if name in wanted}
                say(f"row {row.number}: {row.title}")
                started = time.time()
                samples, absent = load.measure(
                    world, row, arguments.rounds, arguments.seconds, 1 if arguments.quick else 3, say
                )
                results.append((row, samples, absent, time.time() - started))
                say(report.table(row, samples, absent))
        finally:
            services.stop()
    path = report.write(arguments.out, results, arguments)
    say(f"written: {path}")


if __name__ == "__main__":
    main()
