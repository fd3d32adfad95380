"""Rows that are measured under closed-loop load: rounds in turn, CPU time per request of the measured process."""

import http.client
import json
import statistics
import subprocess
from dataclasses import dataclass, field

from .peers import PEERS
from .world import BENCH


@dataclass
class Work:
    """What one peer is asked: a path for each principal, perhaps a body; and what has to be in the answer."""

    path: callable
    must_say: list
    method: str = "GET"
    body: callable = None
    token: bool = True


@dataclass
class Row:
    """`works` are the peers in the order of the table; `targets` are (our name, peer, highest ratio)."""

    number: str
    title: str
    reference: str
    works: dict
    targets: list = field(default_factory=list)
    connections: int = 64


@dataclass
class Sample:
    cpu_us: float
    per_second: float
    busy: float


class WrongAnswer(Exception):
    """A peer does not do the work: its figures would mean nothing."""


def check(world, port, work):
    """One request, whose answer has to be right."""
    subject, token = world.subjects[7], world.tokens[7]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Host": "gateway.example", "Accept": "application/json"}
    if work.token:
        headers["Authorization"] = f"Bearer {token}"
    if work.body:
        headers["Content-Type"] = "application/json"
    connection.request(work.method, work.path(subject), work.body(subject) if work.body else None, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    squeezed = text.replace(" ", "").replace("\n", "")
    missing = [words for words in work.must_say if words.replace("$subject", subject).replace(" ", "") not in squeezed]
    if answer.status != 200 or missing or "unavailable" in text:
        raise WrongAnswer(f"status {answer.status}, without {missing}: {text[:300]}")


def run_load(world, port, requests, seconds, connections, addresses=0):
    """One run of wrk; gives what its script prints. `addresses` is of how many the requests seem to come; 0 = of its own."""
    done = subprocess.run(
        ["taskset", "-c", world.load_cores, "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s",
         "-s", BENCH / "requests.lua", f"http://127.0.0.1:{port}", "--", requests, str(addresses)],
        capture_output=True, text=True, check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


def measure(world, row, rounds, seconds, warm_up, say):
    """All peers of the row, in turn, `rounds` times. Gives samples by peer, and why some were not measured."""
    running, absent, samples = {}, {}, {}
    try:
        for name, work in row.works.items():
            peer = PEERS[name]
            reason = peer.missing()
            if reason:
                absent[name] = reason
                continue
            slug = "".join(letter if letter.isalnum() else "-" for letter in name)
            try:
                process, port = peer.start(world, slug)
            except RuntimeError as error:
                absent[name] = str(error).splitlines()[0][:200]
                say(f"  {name}: {error}")
                continue
            running[name] = (process, port)
            try:
                check(world, port, work)
            except (WrongAnswer, OSError) as error:
                absent[name] = f"wrong answer: {error}"
                say(f"  {name}: {error}")
                process.stop()
                del running[name]
                continue
            requests = world.requests(f"{slug}-{row.number}", work.path, work.method, work.token, work.body)
            running[name] = (process, port, requests)
            run_load(world, port, requests, warm_up, row.connections)
        for number in range(rounds):
            for name, (process, port, requests) in running.items():
                before = process.cpu()
                result = run_load(world, port, requests, seconds, row.connections)
                used = process.cpu() - before
                failed = {kind: result[kind] for kind in ("connect", "read", "write", "status", "timeout") if result[kind]}
                if failed or not result["requests"]:
                    raise WrongAnswer(f"{name}: {failed} of {result['requests']}")
                samples.setdefault(name, []).append(
                    Sample(used / result["requests"] * 1e6, result["requests"] / result["seconds"], used / result["seconds"])
                )
            done = ", ".join(f"{name} {samples[name][-1].cpu_us:.1f}" for name in running)
            say(f"  round {number + 1}: {done}")
    finally:
        for process, *_ in running.values():
            process.stop()
    return samples, absent


def median(samples):
    """The median of CPU time per request, in microseconds."""
    return statistics.median(sample.cpu_us for sample in samples)


def spread(samples):
    """How far apart the rounds are, as a share of their median."""
    values = [sample.cpu_us for sample in samples]
    return (max(values) - min(values)) / statistics.median(values)
