"""Rows about time, under open-loop load: what composing adds to the slowest service, and what one bad service does to the
routes that don't need it."""

import json
import statistics
import subprocess

from .load import check
from .peers import PEERS, TARGET, gateway
from .processes import free_port
from .world import World

GENERATOR = TARGET / "release" / "bench-load"
COMPOSED = ["bff-mobile", "nginx + Lua", "fastify + undici", "Express + fetch"]
# In milliseconds. Without any there is nothing to wait for: what is added then is all that a composition costs.
DELAYS = [0, 5, 10, 20, 50]
JUDGED = [5, 10, 20, 50]
# The slowest way without anybody in between: what no gateway can be below.
BY_HAND = "order, then restaurant, by hand"
RATE, CONNECTIONS = 200, 64
# Each of the 1,000 callers comes so often before it is measured.
WARM_UP, WARM_UP_RATE = 2, 500
FAULTS_RATE, FAULTS_ANSWERS = 500, 2000


def drive(world, port, requests, seconds, rate=RATE):
    """One run of the generator."""
    done = subprocess.run(
        ["taskset", "-c", world.load_cores, GENERATOR, f"127.0.0.1:{port}", requests, str(rate), str(seconds), str(CONNECTIONS)],
        capture_output=True, text=True, check=True,
    )
    return json.loads(done.stdout)


def whole(name, result):
    """A run without a failed request."""
    if result["failed"]:
        raise RuntimeError(f"{name}: {result}")
    return result


def added(folder, works, rounds, seconds, say):
    """For each delay of the kitchen the p50 of each peer beyond that of the kitchen itself, in milliseconds. Order and restaurant, of
    which one is asked after the other, take as long together."""
    table = {}
    for delay in DELAYS:
        world = World(folder / f"delay-{delay}")
        # In whole milliseconds: nginx's timers have no others.
        first, second = (delay + 1) // 2 / 1000, delay // 2 / 1000
        services = world.start_services({"order": first, "restaurant": second, "kitchen": delay / 1000, "delivery": second})
        running = {}
        try:
            direct = world.requests("direct", lambda subject: f"/tickets/order-{subject}")
            hops = [
                (world.ports["order"], world.requests("hop-1", lambda subject: f"/orders/order-{subject}")),
                (world.ports["restaurant"], world.requests("hop-2", lambda _subject: "/restaurants/restaurant-1")),
            ]
            for name in COMPOSED:
                if PEERS[name].missing():
                    continue
                slug = "".join(letter if letter.isalnum() else "-" for letter in name)
                process, port = PEERS[name].start(world, slug)
                running[name] = (process, port, world.requests(slug, works[name].path))
                check(world, port, works[name])
                # Every caller was there once: what a token costs when it is new is not what is asked here.
                drive(world, port, running[name][2], WARM_UP * 1000 // WARM_UP_RATE, WARM_UP_RATE)
            for _ in range(rounds):
                base = whole("kitchen", drive(world, world.ports["kitchen"], direct, seconds))["p50_us"]
                table.setdefault(("service alone", delay), []).append(base / 1000)
                both = sum(whole(BY_HAND, drive(world, port, requests, seconds))["p50_us"] for port, requests in hops)
                table.setdefault((BY_HAND, delay), []).append((both - base) / 1000)
                for name, (_process, port, requests) in running.items():
                    result = whole(name, drive(world, port, requests, seconds))
                    table.setdefault((name, delay), []).append((result["p50_us"] - base) / 1000)
            shown = [f"{name} {statistics.median(table[name, delay]):+.2f}" for name in running]
            say(f"  {delay} ms: {', '.join(shown)}")
        finally:
            for process, *_ in running.values():
                process.stop()
            services.stop()
    return table


def added_table(table):
    """Markdown."""
    lines = ["| peer | " + " | ".join(f"{delay} ms" for delay in DELAYS) + " |", "|---|" + "--:|" * len(DELAYS)]
    names = list(dict.fromkeys(name for name, _ in table))
    for name in names:
        label = f"**{name}**" if name in PEERS and PEERS[name].ours else name
        sign = "" if name == "service alone" else "+"
        cells = [f"{statistics.median(table[name, delay]):{sign}.2f} ms" for delay in DELAYS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def faults(folder, work, rounds, seconds, say):
    """p99 of a pass-through route in milliseconds: with healthy services, and while one hangs and one is slow and both are
    asked for all the time: one gateway, in turn. The one that hangs has no breaker, which would soon take it out of the way."""
    world = World(folder / "faults")
    bad = {"kitchen": 3600, "delivery": 0.5}
    services = world.start_services(bad)
    process = None
    try:
        patient = world.run / "patient.toml"
        patient.write_text("[upstreams.kitchen.breaker]\nenabled = false\n")
        start, _ = gateway("mobile", more=[patient])
        process, port = start(world, "gateway")
        healthy = world.requests("healthy", work.path)
        sick = world.requests("sick", lambda subject: f"/orders/order-{subject}?fields=ticket,delivery")
        check(world, port, work)
        drive(world, port, healthy, WARM_UP * 1000 // WARM_UP_RATE, WARM_UP_RATE)
        # Of two thousand answers, so that the p99 is not one of the worst two.
        seconds = max(seconds, FAULTS_ANSWERS // FAULTS_RATE)

        def tail():
            return whole("bff-mobile", drive(world, port, healthy, seconds, FAULTS_RATE))["p99_us"] / 1000

        samples = {"healthy": [], "beside faults": []}
        for _ in range(rounds):
            samples["healthy"].append(tail())
            load = subprocess.Popen(
                ["taskset", "-c", world.load_cores, GENERATOR, f"127.0.0.1:{port}", sick, "40", str(seconds + 1), "160"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            samples["beside faults"].append(tail())
            load.wait()
        medians = {name: statistics.median(values) for name, values in samples.items()}
        say(f"  p99 {medians}")
        return medians
    finally:
        if process:
            process.stop()
        services.stop()
