"""Who is measured: how each is started, and what it needs. The files themselves are in ../peers."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .processes import Process, free_port
from .world import BENCH, PROJECT

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
TARGET = TARGET if TARGET.is_absolute() else PROJECT / TARGET


@dataclass
class Peer:
    """`start(world, name)` gives a running process and its port; `missing()` says why it can't, or nothing."""

    name: str
    start: callable
    missing: callable = lambda: None
    edge: bool = False
    ours: bool = False


def _file(template, command, needs, **words):
    def start(world, name):
        port = free_port()
        path = world.render(BENCH / "peers" / template, name, PORT=port, **words)
        process = Process(name, command(path, port), world.gateway_cores, world.run)
        process.wait_for(port)
        return process, port

    return start, lambda: None if _which(needs) else f"{needs} is not installed"


def _which(binary):
    return shutil.which(binary) or shutil.which(binary, path="/usr/sbin:/usr/local/sbin")


def _nginx(template, **words):
    return _file(template, lambda path, _: [_which("nginx"), "-c", path], "nginx", **words)


def _haproxy(template):
    return _file(template, lambda path, _: [_which("haproxy"), "-f", path], "haproxy")


def envoy_binary():
    """Envoy as scripts/setup.sh has unpacked it, or the one on the path."""
    own = BENCH / "peers" / ".envoy" / "envoy" / "_bin" / "envoy"
    return str(own) if own.exists() else shutil.which("envoy")


def _envoy(template):
    start, _ = _file(
        template,
        lambda path, _: [envoy_binary(), "-c", path, "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"],
        "envoy",
    )
    return start, lambda: None if envoy_binary() else "no Envoy here"


def _varnish():
    return _file(
        "varnish.vcl.in",
        lambda path, port: [
            _which("varnishd"), "-F", "-f", path, "-a", f"127.0.0.1:{port}", "-n", path.parent / f"varnish-{port}",
            "-s", "malloc,64m", "-p", "timeout_idle=3600", "-p", "thread_pools=1",
        ],
        "varnishd",
    )


def _node(script, *arguments):
    def start(world, name):
        port = free_port()
        names = {service.upper().replace("-", "_"): str(number) for service, number in world.ports.items()}
        environment = {
            **names, "HISTORY": str(world.ports["order-history"]), "PORT": str(port), "NODE_ENV": "production", "ISSUER": world.issuer,
            "ISSUER_KEY": str(world.run / "issuer.pem"), "LOG": str(world.run / f"{name}-access.log"),
        }
        process = Process(name, ["node", BENCH / "peers" / "node" / script, *arguments], world.gateway_cores, world.run, environment)
        process.wait_for(port)
        return process, port

    installed = BENCH / "peers" / "node" / "node_modules"
    return start, lambda: None if installed.exists() and shutil.which("node") else "npm ci has not run in bench/peers/node"


def _built(binary, folder):
    path = BENCH / "peers" / folder / binary

    def start(world, name):
        port = free_port()
        environment = {"PORT": str(port), "UPSTREAM": f"127.0.0.1:{world.ports['order-history']}"}
        process = Process(name, [path], world.gateway_cores, world.run, environment)
        process.wait_for(port)
        return process, port

    return start, lambda: None if path.exists() else f"{folder} is not built here"


def gateway_files(bff):
    """The binary, and the configuration that it is run with."""
    override = os.environ.get("BENCH_BIN_DIR")
    binary = (Path(override) if override else TARGET / "release") / f"bff-{bff}"
    return binary, [PROJECT / "config" / f"{bff}.toml", BENCH / "config" / "limits.toml"]


def gateway(bff, more=(), binary=None):
    """One of the shipped gateways with the shipped configuration, merged with the limits of ../config."""
    default, configs = gateway_files(bff)
    binary = Path(binary) if binary else default

    def start(world, name):
        port, admin = free_port(), free_port()
        environment = {
            "LISTEN": f"127.0.0.1:{port}", "ADMIN_LISTEN": f"127.0.0.1:{admin}", "ISSUER": world.issuer,
            "INTERNAL_TOKEN_KEY_FILE": str(world.run / "keys" / "gateway.pem"),
            **{f"{service.upper().replace('-', '_')}_URL": f"http://127.0.0.1:{number}" for service, number in world.ports.items()},
        }
        arguments = [part for path in [*configs, *more] for part in ("--config", path)]
        process = Process(name, [binary, *arguments], world.gateway_cores, world.run, environment)
        process.wait_for(port)
        process.wait_until_ready(admin)
        process.admin = admin
        return process, port

    return start, lambda: None if binary.exists() else f"{binary} is not built: cargo build --release"


def _peer(name, made, **more):
    start, missing = made
    return Peer(name, start, missing, **more)


PEERS = {
    peer.name: peer
    for peer in [
        _peer("bff-web", gateway("web"), edge=True, ours=True),
        _peer("bff-mobile", gateway("mobile"), edge=True, ours=True),
        _peer("bff-mobile, parts stored", gateway("mobile", more=[BENCH / "config" / "stored.toml"]), edge=True, ours=True),
        _peer("nginx", _nginx("nginx.conf.in")),
        _peer("nginx (again)", _nginx("nginx.conf.in")),
        _peer("nginx + njs, edge", _nginx("nginx-edge.conf.in"), edge=True),
        _peer("nginx + Lua", _nginx("nginx-lua.conf.in")),
        _peer("nginx + Lua (again)", _nginx("nginx-lua.conf.in")),
        _peer("nginx + Lua, spliced", _nginx("nginx-lua.conf.in")),
        _peer("nginx cache", _nginx("nginx-cache.conf.in")),
        _peer("haproxy", _haproxy("haproxy.cfg.in")),
        _peer("haproxy, edge", _haproxy("haproxy-edge.cfg.in"), edge=True),
        _peer("haproxy cache", _haproxy("haproxy-cache.cfg.in")),
        _peer("Varnish", _varnish()),
        _peer("Varnish (again)", _varnish()),
        _peer("Envoy", _envoy("envoy.yaml.in")),
        _peer("Envoy, edge", _envoy("envoy-edge.yaml.in"), edge=True),
        _peer("pingora", _built("pingora-plain", ".pingora")),
        _peer("Traefik", _built("traefik", ".traefik")),
        _peer("fastify + undici", _node("fastify.mjs")),
        _peer("fastify, edge", _node("fastify-edge.mjs"), edge=True),
        _peer("Express + fetch", _node("express.mjs")),
        _peer("Apollo on fastify", _node("graphql.mjs", "apollo")),
        _peer("Apollo (again)", _node("graphql.mjs", "apollo")),
        _peer("mercurius, JIT", _node("graphql.mjs", "mercurius")),
        _peer("graphql-yoga", _node("graphql.mjs", "yoga")),
    ]
}

# For comparing builds: BENCH_COMPARE="before=/path,after=/path" adds gateways from these folders to rows 1 and 2.
for _pair in filter(None, os.environ.get("BENCH_COMPARE", "").split(",")):
    _label, _, _folder = _pair.partition("=")
    for _bff in ("web", "mobile"):
        _name = f"bff-{_bff} {_label}"
        PEERS[_name] = _peer(_name, gateway(_bff, binary=Path(_folder) / f"bff-{_bff}"), edge=True, ours=True)


def hash_of(paths):
    """The first 12 hexadecimal digits of SHA-256 over the files' contents, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:12]


def version_of(command):
    """The first line that says something of `command`'s output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "?")
