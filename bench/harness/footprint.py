"""Rows about size: memory of idle connections, growth with routes and limiter keys, two workers against one."""

import http.client
import json
import socket
import statistics
import time

from .load import check, run_load
from .peers import PEERS, gateway
from .world import BENCH

CONNECTIONS = 9000
BREAKERS = 200
# Of how many addresses requests come.
KEYS = {"1,000 keys": 1000, "250,000 keys": 250_000, "1,000,000 keys": 1_000_000}
IDLE_PEERS = ["bff-web", "nginx", "haproxy", "Envoy", "pingora", "fastify + undici"]


def idle_memory(world, row, say):
    """Bytes of each idle keep-alive connection that has had one request, and what the process had before."""
    found = {}
    for name in IDLE_PEERS:
        work = row.works.get(name) or row.works["nginx"]
        if PEERS[name].missing():
            found[name] = None
            continue
        process, port = PEERS[name].start(world, "idle-" + "".join(letter for letter in name if letter.isalnum()))
        sockets = []
        try:
            check(world, port, work)
            requests = world.requests("idle", work.path, token=work.token).read_bytes()
            request = requests[requests.index(b"\n") + 1 :][: int(requests[: requests.index(b"\n")])]
            # What the first requests allocate once is not the connections'.
            run_load(world, port, world.requests("idle-warm", work.path), 2, 64)
            time.sleep(1)
            before = process.memory()
            for _ in range(CONNECTIONS):
                connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                sockets.append(connection)
                connection.sendall(request)
                received = b""
                while b"\r\n\r\n" not in received or not received.rstrip().endswith((b"}", b"0")):
                    piece = connection.recv(65536)
                    if not piece:
                        raise OSError("it closes connections")
                    received += piece
            time.sleep(3)
            each = (process.memory() - before) / CONNECTIONS
            found[name] = (each, before)
            say(f"  {name}: {each / 1024:.1f} KiB each, {before / (1 << 20):.0f} MiB before")
        except OSError as error:
            found[name] = None
            say(f"  {name}: {error}")
        finally:
            for connection in sockets:
                connection.close()
            process.stop()
    return found


def idle_table(found):
    """Markdown."""
    lines = ["| peer | each idle connection | process before |", "|---|--:|--:|"]
    for name, value in found.items():
        label = f"**{name}**" if PEERS[name].ours else name
        if value is None:
            lines.append(f"| {label} | not measured here | |")
        else:
            lines.append(f"| {label} | {value[0] / 1024:.1f} KiB | {value[1] / (1 << 20):.0f} MiB |")
    return "\n".join(lines)


def _in_turn(world, running, rounds, seconds):
    samples = {name: [] for name in running}
    for _ in range(rounds):
        for name, (process, port, requests, *addresses) in running.items():
            before = process.cpu()
            result = run_load(world, port, requests, seconds, 64, *addresses)
            if any(result[kind] for kind in ("connect", "read", "write", "status", "timeout")):
                raise RuntimeError(f"{name}: {result}")
            samples[name].append((process.cpu() - before) / result["requests"] * 1e6)
    return {name: statistics.median(values) for name, values in samples.items()}


def growth(world, row, rounds, seconds, say):
    """CPU time per request with 2 and 1,000 routes, with 1,000 limiter keys, 250,000 (nearly all that are ever held) and
    1,000,000, and beside 1 and 200 upstreams whose breakers are open, in microseconds; and the memory that the keys take."""
    work = row.works["bff-web"]
    many = world.run / "routes.toml"
    shipped = (BENCH.parent / "config" / "web.toml").read_text()
    routes = shipped[shipped.index("[[routes]]") :]
    extra = "".join(
        f'[[routes]]\nname = "extra-{number}"\npath = "/extra/{number}/things/{{id}}"\nupstream = "restaurant"\n'
        'rewrite = "/restaurants/{id}"\naccess = "public"\nlimits = ["address", "caller"]\n'
        for number in range(998)
    )
    many.write_text(routes + extra)
    proxied = world.run / "proxied.toml"
    proxied.write_text(
        '[server]\ntrusted_proxies = ["127.0.0.0/8"]\n'
        # So slow that a bucket is not full again, and forgotten, before its address comes back.
        '[rate_limits.address]\nkey = "address"\nrate = "1/m"\nburst = 500000\n'
    )
    variants = {
        "2 routes": gateway("web"), "1,000 routes": gateway("web", more=[many]),
        **{name: gateway("web", more=[proxied]) for name in KEYS},
        "1 open breaker": gateway("web", more=[_dead(world, 1, routes)]),
        f"{BREAKERS} open breakers": gateway("web", more=[_dead(world, BREAKERS, routes)]),
    }
    running, memory = {}, {}
    try:
        for name, (start, _) in variants.items():
            process, port = start(world, "growth-" + name.replace(" ", "-").replace(",", ""))
            requests = world.requests("growth-" + name.split()[0].replace(",", "") + name.split()[1], work.path)
            if "breaker" in name:
                _open_breakers(port, process.admin, int(name.split()[0]))
            addresses = KEYS.get(name, 0)
            running[name] = (process, port, requests, addresses)
            # Once from each address, or nearly.
            run_load(world, port, requests, 2 + addresses // 20_000, 64, addresses)
            memory[name] = process.memory()
        result = _in_turn(world, running, rounds, seconds)
        say("  " + ", ".join(f"{name}: {value:.1f} µs, {memory[name] / (1 << 20):.0f} MiB" for name, value in result.items()))
        return result, memory
    finally:
        for process, *_ in running.values():
            process.stop()


def _dead(world, number, routes):
    """A file with so many upstreams that nobody listens at, each with a route. A list replaces one in the files before: the
    shipped routes are there, too."""
    path = world.run / f"dead-{number}.toml"
    path.write_text(
        routes
        + "".join(
            f'[upstreams.dead-{index}]\naddress = "http://127.0.0.1:1"\n'
            'retry = { retries = 0 }\nbreaker = { min_calls = 2, open = "10m", max_open = "10m" }\n'
            f'[[routes]]\nname = "dead-{index}"\npath = "/dead/{index}"\nupstream = "dead-{index}"\naccess = "public"\n'
            for index in range(number)
        )
    )
    return path


def _open_breakers(port, admin, number):
    """Asks for what is dead until the gateway does not try any more."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for index in range(number):
        for _ in range(3):
            connection.request("GET", f"/dead/{index}", headers={"Host": "gateway.example"})
            connection.getresponse().read()
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
    connection.request("GET", "/upstreams")
    upstreams = json.loads(connection.getresponse().read())
    connection.close()
    opened = sum(upstream["breaker"]["state"] == "open" for upstream in upstreams)
    if opened != number:
        raise RuntimeError(f"{opened} of {number} breakers are open")


def workers(world, row, rounds, seconds, say):
    """CPU time per request of one worker and of two, each beside nginx with as many; both cores are shared with the load, so
    only what two cost more than one means something."""
    from .peers import _nginx

    cores = world.gateway_cores
    variants = {}
    one_toml, two_toml = world.run / "one.toml", world.run / "two.toml"
    one_toml.write_text("[server]\nworkers = 1\n")
    two_toml.write_text("[server]\nworkers = 2\n")
    running = {}
    try:
        world.gateway_cores = "0,1"
        variants = {
            "bff-web, 1 worker": (gateway("web", more=[one_toml]), row.works["bff-web"]),
            "bff-web, 2 workers": (gateway("web", more=[two_toml]), row.works["bff-web"]),
            "nginx, 1 worker": (_nginx("nginx.conf.in", WORKERS=1), row.works["nginx"]),
            "nginx, 2 workers": (_nginx("nginx.conf.in", WORKERS=2), row.works["nginx"]),
        }
        for name, ((start, _), work) in variants.items():
            slug = name.replace(", ", "-").replace(" ", "-")
            process, port = start(world, slug)
            requests = world.requests(slug, work.path)
            check(world, port, work)
            run_load(world, port, requests, 2, 64)
            running[name] = (process, port, requests)
        result = _in_turn(world, running, rounds, seconds)
        say("  " + ", ".join(f"{name}: {value:.1f} µs" for name, value in result.items()))
        return result
    finally:
        world.gateway_cores = cores
        for process, *_ in running.values():
            process.stop()
