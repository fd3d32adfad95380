#!/usr/bin/env python3
"""Runs the benchmarks and writes bench/results/DATE.md: `make bench`, `make bench ROWS="1 2"`, `make bench QUICK=1`."""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import footprint, latency, load, report  # noqa: E402
from harness.load import Work  # noqa: E402
from harness.rows import EAGER, ROWS  # noqa: E402
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
    unknown = [row for row in arguments.rows if row not in ROWS and row not in SPECIAL]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}: there are {', '.join([*ROWS, *SPECIAL])}")
    say = lambda text: print(text, flush=True)  # noqa: E731

    results, sections = [], []
    rounds, seconds = arguments.rounds, arguments.seconds
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        world = World(folder)
        services = world.start_services()
        try:
            for number in arguments.rows or [*ROWS, *SPECIAL]:
                if number in SPECIAL:
                    title, measure = SPECIAL[number]
                    say(f"row {number}: {title}")
                    text, verdicts = measure(world, folder, arguments, say)
                    sections.append((number, title, text, verdicts))
                    say(text)
                    continue
                row = ROWS[number]
                if arguments.only:
                    wanted = arguments.only.split(";")
                    row.works = {name: work for name, work in row.works.items() if name in wanted}
                say(f"row {row.number}: {row.title}")
                samples, absent = load.measure(world, row, rounds, seconds, 1 if arguments.quick else 3, say)
                results.append((row, samples, absent))
                say(report.table(row, samples, absent))
        finally:
            services.stop()
    path = report.write(arguments.out, results, sections, arguments)
    say(f"written: {path}")


def composed_latency(_world, folder, arguments, say):
    table = latency.added(folder, {**ROWS["2"].works, **EAGER}, arguments.rounds, arguments.seconds, say)
    ours = [statistics.median(table["bff-mobile", delay]) for delay in latency.JUDGED]
    targets = [("bff-mobile adds at most 0.4 ms", max(ours), max(ours) <= 0.4)]
    if ("nginx + Lua", 5) in table:
        lua = [statistics.median(table["nginx + Lua", delay]) for delay in latency.JUDGED]
        ratio = statistics.mean(ours) / statistics.mean(lua)
        targets.append(("at most 0.7 of what nginx + Lua adds", ratio, ratio <= 0.7))
    return latency.added_table(table), targets


def idle(world, _folder, _arguments, say):
    found = footprint.idle_memory(world, ROWS["1"], say)
    ours = found["bff-web"]
    targets = [("at most 8 KiB for each", ours[0] / 1024, ours[0] <= 8192)] if ours else []
    return footprint.idle_table(found), targets


def growth(world, _folder, arguments, say):
    result, memory = footprint.growth(world, ROWS["1"], arguments.rounds, arguments.seconds, say)
    lines = ["| bff-web with | CPU per request | memory |", "|---|--:|--:|"]
    lines += [f"| {name} | {value:.1f} µs | {memory[name] / (1 << 20):.0f} MiB |" for name, value in result.items()]
    routes = result["1,000 routes"] / result["2 routes"]
    held, many = (result[name] / result["1,000 keys"] for name in ("250,000 keys", "1,000,000 keys"))
    breakers = result[f"{footprint.BREAKERS} open breakers"] / result["1 open breaker"]
    return "\n".join(lines), [
        ("1,000 routes cost at most 1.05 of 2", routes, routes <= 1.05),
        ("250,000 limiter keys (nearly as many as are ever held) cost at most 1.05 of 1,000", held, held <= 1.05),
        ("1,000,000 limiter keys cost at most 1.05 of 1,000", many, many <= 1.05),
        (f"{footprint.BREAKERS} open breakers cost at most 1.05 of 1", breakers, breakers <= 1.05),
    ]


def tail(_world, folder, arguments, say):
    work = Work(lambda _subject: "/restaurants/restaurant-1", ['"cuisine":"Indian"'])
    result = latency.faults(folder, work, arguments.rounds, arguments.seconds, say)
    lines = ["| `GET /restaurants/{id}` | p99 |", "|---|--:|"] + [f"| {name} | {value:.2f} ms |" for name, value in result.items()]
    ratio = result["beside faults"] / result["healthy"]
    return "\n".join(lines), [("at most 1.2 of the p99 without faults", ratio, ratio <= 1.2)]


def two_workers(world, _folder, arguments, say):
    result = footprint.workers(world, ROWS["1"], arguments.rounds, arguments.seconds, say)
    lines = ["| | CPU per request |", "|---|--:|"] + [f"| {name} | {value:.1f} µs |" for name, value in result.items()]
    ours = result["bff-web, 2 workers"] / result["bff-web, 1 worker"]
    theirs = result["nginx, 2 workers"] / result["nginx, 1 worker"]
    return "\n".join(lines), [(f"two workers for one cost no more than nginx's ({theirs:.2f})", ours, ours <= theirs * 1.02)]


SPECIAL = {
    "3": ("what composing adds to the slowest service (p50, open loop)", composed_latency),
    "7": ("memory of 9,000 idle keep-alive connections", idle),
    "8": ("growth", growth),
    "9": ("p99 of another route while one service hangs and one is slow (open loop)", tail),
    "10": ("two workers", two_workers),
}


if __name__ == "__main__":
    main()
