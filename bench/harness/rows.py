"""The rows of the table: what work, which peers, what is wanted. How they are measured is load.py and its neighbours."""

import json
import os

from .load import Row, Work

LIST = "/restaurants/available?lat=37.80&lng=-122.27&radius=5000&pageSize=10"
QUERY = """query Order($id: ID!) { order(id: $id) { id state restaurantName total { amount currency }
 lineItems { menuItemId name quantity } createdAt
 ticket { id state readyBy acceptedAt } delivery { id state scheduledDeliveryTime courier { name location { lat lng } } }
 restaurant { id name cuisine address { street1 city zip } } } }"""

_compared = [pair.partition("=")[0] for pair in filter(None, os.environ.get("BENCH_COMPARE", "").split(","))]


def _ours(name, work):
    return {name: work, **{f"{name} {label}": work for label in _compared}}


def _plain(path, *says):
    return Work(lambda _subject: path, list(says))


def _screen(prefix, query=""):
    says = ['"restaurantName":"Ajanta"', '"readyBy":"2030-01-01T18:40:00Z"', '"name":"Courier One"', '"street1":"1888 Solano Avenue"',
            '"id":"order-$subject"']
    return Work(lambda subject: f"{prefix}order-{subject}{query}", says)


def _graphql(path):
    says = ['"restaurantName":"Ajanta"', '"readyBy":"2030-01-01T18:40:00Z"', '"name":"Courier One"', '"cuisine":"Indian"',
            '"id":"order-$subject"']
    return Work(
        lambda _subject: path, says, "POST",
        lambda subject: json.dumps({"query": QUERY, "variables": {"id": f"order-{subject}"}, "operationName": "Order"}),
    )


_list = _plain(LIST, '"name":"Dockside Slices"')
_cached = _plain("/restaurants/restaurant-1", '"cuisine":"Indian"')
_details = _screen("/orders/")

# For latencies nginx + Lua does more work, so that it waits less.
EAGER = {"nginx + Lua": _screen("/threads/")}

ROWS = {
    row.number: row
    for row in [
        Row(
            "1", "pass-through, HTTP/1.1 keep-alive, 1 KiB", "nginx",
            {
                **_ours("bff-web", _plain(LIST.replace("/restaurants/available", "/api/restaurants"), '"name":"Dockside Slices"')),
                "nginx": _list, "nginx (again)": _list, "haproxy": _list, "pingora": _list, "Envoy": _list,
                "haproxy, edge": _list, "nginx + njs, edge": _list, "Envoy, edge": _list, "Traefik": _list, "fastify, edge": _list,
            },
            [("bff-web", "nginx", 1.00), ("bff-web", "haproxy, edge", 0.55), ("bff-web", "Envoy, edge", 0.22)],
        ),
        Row(
            "2", "composition of 4 parts and their merge, services without delay", "nginx + Lua",
            {
                **_ours("bff-mobile", _screen("/orders/", "?fields=order,ticket,delivery,restaurant")),
                "bff-mobile, parts stored": _screen("/orders/", "?fields=order,ticket,delivery,restaurant"),
                "nginx + Lua": _details, "nginx + Lua (again)": _details, "nginx + Lua, spliced": _screen("/spliced/"),
                "fastify + undici": _details, "Express + fetch": _details,
            },
            [("bff-mobile", "nginx + Lua", 0.70), ("bff-mobile", "fastify + undici", 0.20)],
        ),
        Row(
            "4", "GraphQL: one query over 4 services", "Apollo on fastify",
            {
                **_ours("bff-web", _graphql("/graphql")),
                "Apollo on fastify": _graphql("/graphql"), "Apollo (again)": _graphql("/graphql"),
                "mercurius, JIT": _graphql("/graphql"), "graphql-yoga": _graphql("/graphql"),
            },
            [("bff-web", "Apollo on fastify", 0.25), ("bff-web", "mercurius, JIT", 0.45)],
        ),
        Row(
            "5", "cache hit, the request with a token", "Varnish",
            {
                **_ours("bff-web", _plain("/api/restaurants/restaurant-1", '"cuisine":"Indian"')),
                "Varnish": _cached, "Varnish (again)": _cached, "nginx cache": _cached, "haproxy cache": _cached,
            },
            [("bff-web", "Varnish", 0.35), ("bff-web", "nginx cache", 0.60)],
        ),
    ]
}
