"""What all rows need: a folder for the run, the issuer with its tokens, the services, and a way to render the peers' files."""

import json
import os
import subprocess
from pathlib import Path

from .processes import Process, free_port

BENCH = Path(__file__).resolve().parent.parent
PROJECT = BENCH.parent
PRINCIPALS = 1000
SERVICES = ["order", "kitchen", "delivery", "accounting", "consumer", "restaurant", "order-history", "issuer"]


class World:
    """`gateway_cores` are the measured process's, `load_cores` those of the load and of the services."""

    def __init__(self, run, gateway_cores="0", load_cores="1"):
        self.run = run
        self.gateway_cores = gateway_cores
        self.load_cores = load_cores
        run.mkdir(parents=True, exist_ok=True)
        # Varnish reads its file as another user.
        run.chmod(0o755)
        self.ports = {service: free_port() for service in SERVICES}
        self.issuer = f"http://127.0.0.1:{self.ports['issuer']}"
        subprocess.run(["node", BENCH / "tokens.mjs", run, self.issuer, str(PRINCIPALS)], check=True)
        (run / "issuer.txt").write_text(self.issuer)
        self.tokens = (run / "tokens.txt").read_text().split()
        self.subjects = [f"consumer-{index:04}" for index in range(PRINCIPALS)]
        bodies = json.loads((BENCH / "upstream" / "bodies.json").read_text())
        self.bodies = {name: json.dumps(body, separators=(",", ":")) for name, body in bodies.items()}

    def words(self, **more):
        """What the peers' files may name between `@`s."""
        words = {service.upper(): port for service, port in self.ports.items()}
        words.update(HISTORY=self.ports["order-history"], ISSUER=self.issuer, RUN=self.run, PEERS=BENCH / "peers", WORKERS=1)
        words.update(more)
        return {name: str(value) for name, value in words.items()}

    def render(self, template, name, **more):
        """Fills in a template, and gives the path of the result."""
        text = template.read_text()
        for word, value in self.words(NAME=name, **more).items():
            text = text.replace(f"@{word}@", value)
        path = self.run / f"{name}-{template.name.removesuffix('.in')}"
        path.write_text(text)
        return path

    def start_services(self, delays=None):
        """One nginx that answers for all services; `delays` are seconds by service."""
        path = self.run / "upstream.conf"
        template = BENCH / "upstream" / "nginx.conf.in"
        path.write_text(
            template.read_text().replace("@RUN@", str(self.run)).replace("@SERVERS@", self._servers(delays or {}))
        )
        (self.run / "bill").write_bytes(grpc_bill())
        services = Process("upstream", ["nginx", "-c", path], self.load_cores, self.run)
        for port in self.ports.values():
            services.wait_for(port)
        return services

    def _servers(self, delays):
        body = self.bodies
        many = {name: '{"items":[' + body[name] + "]}" for name in ("order", "ticket", "delivery", "restaurant")}
        answers = {
            "order": {"/orders/": body["order"], "= /orders": many["order"]},
            "kitchen": {"/tickets/": body["ticket"], "= /tickets": many["ticket"]},
            "delivery": {"/deliveries/": body["delivery"], "= /deliveries": many["delivery"]},
            "restaurant": {"/restaurants/": body["restaurant"], "= /restaurants": many["restaurant"]},
            "consumer": {"/": "{}"},
            "order-history": {"/": body["available"]},
        }
        servers = []
        for service, by_path in answers.items():
            cache = "add_header Cache-Control 'public, max-age=3600'; " if service == "restaurant" else ""
            locations = []
            for path, text in by_path.items():
                delay = delays.get(service)
                if delay:
                    quoted = text.replace("$subject", "]=]..ngx.var.subject..[=[")
                    answer = (
                        f"content_by_lua_block {{ ngx.sleep({delay}); local b = [=[{quoted}]=]; "
                        "ngx.header.content_type = 'application/json'; ngx.header.content_length = #b; ngx.print(b) }"
                    )
                else:
                    answer = f"return 200 '{text}';"
                locations.append(f"    location {path} {{ {cache}{answer} }}")
            listen = f"listen 127.0.0.1:{self.ports[service]} backlog=4096;"
            servers.append("  server {\n    " + listen + "\n" + "\n".join(locations) + "\n  }")
        discovery = json.dumps({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks.json"}, separators=(",", ":"))
        servers.append(
            f"  server {{\n    listen 127.0.0.1:{self.ports['issuer']};\n    root {self.run};\n"
            f"    location = /.well-known/openid-configuration {{ return 200 '{discovery}'; }}\n  }}"
        )
        servers.append(
            f"  server {{\n    listen 127.0.0.1:{self.ports['accounting']} http2;\n    root {self.run};\n"
            "    error_page 405 =200 $uri;\n"
            "    location / { default_type application/grpc; add_trailer grpc-status 0; try_files /bill =404; }\n  }"
        )
        return "\n".join(servers)

    def requests(self, name, paths, method="GET", token=True, bodies=None):
        """The file of requests that wrk sends in turn: one for each principal."""
        target = self.run / f"{name}.requests"
        with target.open("wb") as file:
            for index, subject in enumerate(self.subjects):
                body = bodies(subject).encode() if bodies else b""
                head = [f"{method} {paths(subject)} HTTP/1.1", "Host: gateway.example", "Accept: application/json", "User-Agent: bench"]
                if token:
                    head.append(f"Authorization: Bearer {self.tokens[index]}")
                if bodies:
                    head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
                raw = "\r\n".join(head).encode() + b"\r\n\r\n" + body
                file.write(f"{len(raw)}\n".encode() + raw)
        return target


def grpc_bill():
    """A `Bill` of accounting as one message of a gRPC answer."""

    def text(number, value):
        return bytes([number << 3 | 2, len(value)]) + value

    amount = text(1, b"61.70") + text(2, b"USD")
    bill = text(1, b"order-1") + text(4, amount) + text(5, b"AUTHORIZED") + text(6, b"2030-01-01T18:00:01Z")
    return b"\0" + len(bill).to_bytes(4, "big") + bill
