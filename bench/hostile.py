"""What documents that are made to keep a GraphQL server busy cost bff-web: CPU time of its process for each refusal.

    make hostile            # builds a release, then this

No service is there: who is refused gets no further. Each document is sent many times, never twice the same text; the CPU time
of all threads (/proc/PID/task/*/schedstat) is divided by the number. Fails when a document is not refused as it should be, or costs
more than the bound. Only the standard library.
"""

import glob
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

BOUND_MS = 10.0
ROUNDS = 60
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")

# The shipped configuration, but for the limits of requests: one address sends them all.
OVERLAY = """
[admin]
address = "127.0.0.1:0"
[server]
address = "127.0.0.1:0"
workers = 1
[rate_limits.address]
key = "address"
rate = "20000/s"
burst = 20000
[rate_limits.caller]
key = "principal"
rate = "20000/s"
burst = 20000
"""


def many(count, text):
    """`text` so many times, with N in it counted."""
    return "".join(text.replace("N", str(number)) for number in range(count))


def chain(count, text):
    """Fragments in a row; `M` is the number of the next one."""
    return "".join(text.replace("M", str(number + 1)).replace("N", str(number)) for number in range(count))


def documents():
    """Name, document, code of the refusal."""
    order = '{ order(id: "1") '
    yield "deep", order + "{ restaurant " * 60 + "{ id }" + " }" * 61, "DEPTH_LIMIT_EXCEEDED"
    yield "nested brackets", "{ order(id: " + "[" * 30_000 + ") { id } }", "DEPTH_LIMIT_EXCEEDED"
    yield "nested braces, not closed", "{me" * 990, "DEPTH_LIMIT_EXCEEDED"
    yield "wide", "{ me { " + "id " * 10_000 + "} }", "TOKEN_LIMIT_EXCEEDED"
    yield "wide, within the limit of tokens", "{ me { " + "nothing " * 1_900 + "} }", "GRAPHQL_VALIDATION_FAILED"
    yield "names that are almost there", "{ " + many(480, "ordersN { id } ") + "}", "GRAPHQL_VALIDATION_FAILED"
    yield "aliases", "{ " + many(600, "aN: me { id } ") + "}", "ALIAS_LIMIT_EXCEEDED"
    doubling = chain(40, "fragment FN on Order { restaurant { id } ...FM ...FM } ")
    yield "fragments that double", order + "{ ...F0 } } " + doubling + "fragment F40 on Order { id }", "COMPLEXITY_LIMIT_EXCEEDED"
    yield "fragments in a row", order + "{ ...F0 } } " + chain(170, "fragment FN on Order { ...FM } ") + "fragment F170 on Order { nothing }", "DEPTH_LIMIT_EXCEEDED"
    doubling = chain(28, "fragment FN on Order { ...FM ...FM } ")
    yield "fragments that double nothing", order + "{ ...F0 } } " + doubling + "fragment F28 on Order { ...Nothing }", "COMPLEXITY_LIMIT_EXCEEDED"
    yield "fragments in a circle", order + "{ ...A } } fragment A on Order { ...B ...B } fragment B on Order { ...A ...A }", "GRAPHQL_VALIDATION_FAILED"
    yield "fragments that nobody uses", "{ me { id } } " + many(230, "fragment FN on Order { id id } "), "GRAPHQL_VALIDATION_FAILED"
    yield "fragments of nothing", "{ " + many(480, "...FN ") + "}", "GRAPHQL_VALIDATION_FAILED"
    yield "directives", "{ me { id " + "@include(if: true) " * 270 + "} }", "DIRECTIVE_LIMIT_EXCEEDED"
    yield "directives, spread", "{ me { " + "id @a @b @c @d @e @f @g " * 130 + "} }", "GRAPHQL_VALIDATION_FAILED"
    yield "arguments that differ", "{ " + many(215, 'order(id: "N") { id } ') + "}", "GRAPHQL_VALIDATION_FAILED"
    yield "arguments that differ, by fragments", "{ ...F0 } " + chain(15, 'fragment FN on Query {' + ' order(id: "N") { id }' * 13 + ' ...FM } ') + "fragment F15 on Query { me { id } }", "GRAPHQL_VALIDATION_FAILED"
    yield "a long list", "{ order(id: [" + "1," * 15_000 + "]) { id } }", "TOKEN_LIMIT_EXCEEDED"
    yield "a list within the limits", "{ order(id: [" + "1," * 1_900 + "]) { id } }", "GRAPHQL_VALIDATION_FAILED"
    yield "variables that nobody uses", "query(" + many(480, "$vN: Int ") + ") { me { id } }", "GRAPHQL_VALIDATION_FAILED"
    yield "variables that nobody has defined", "{ " + many(165, "orders(first: $vN) { nodes { id } } ") + "}", "GRAPHQL_VALIDATION_FAILED"
    yield "mutations", "mutation { " + many(215, 'cancelOrder(id: "N") { orderId } ') + "}", "BAD_REQUEST"
    yield "a huge input", "mutation { placeOrder(input: { lineItems: [" + '{menuItemId: "1", quantity: 1} ' * 240 + "] }) { orderId } }", "GRAPHQL_VALIDATION_FAILED"
    yield "operations", many(240, "query QN { me { id } } "), "BAD_REQUEST"
    shared = "fragment F0 on Query { " + many(100, "...GN ") + "} " + many(100, "fragment GN on Query { me { id } } ")
    yield "operations that share fragments", many(110, "query QN { ...F0 } ") + shared, "COMPLEXITY_LIMIT_EXCEEDED"
    yield "nested values", "{ " + many(15, "order(id: " + "[" * 60 + "]" * 60 + ") { id } ") + "}", "GRAPHQL_VALIDATION_FAILED"
    yield "a long name", "{ " + "a" * 32_000 + " }", "GRAPHQL_VALIDATION_FAILED"
    yield "a string that does not end", '{ order(id: "' + '\\"' * 15_000, "GRAPHQL_PARSE_FAILED"
    yield "a number without an end", "{ orders(first: " + "9" * 32_000 + ") { nodes { id } } }", ("GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED")
    yield "comments", "#\n" * 16_000 + "{", "TOKEN_LIMIT_EXCEEDED"
    yield "a document of 120 kB", "{ me { " + "id " * 39_000 + "} }", "DOCUMENT_TOO_LARGE"
    yield "1 MB of tokens", "a " * 500_000, 413


def bodies():
    for name, document, code in documents():
        yield name, lambda turn, document=document: {"query": f"{document}\n#{turn}"}, code
    shared = next(document for name, document, _ in documents() if name == "operations that share fragments")
    yield "one of the operations that share fragments", lambda turn: {"query": f"{shared}#{turn}", "operationName": "Q7"}, "COMPLEXITY_LIMIT_EXCEEDED"
    query = "query($id: ID!) { nothing(id: $id) }"
    deep = json.loads("[" * 100 + "]" * 100)
    yield "deep variables", lambda turn: {"query": f"{query}#{turn}", "variables": {"id": deep}}, (400, "GRAPHQL_VALIDATION_FAILED", "BAD_REQUEST")
    yield "100 kB of variables", lambda turn: {"query": f"{query}#{turn}", "variables": {"id": [0] * 33_000}}, "GRAPHQL_VALIDATION_FAILED"
    members = {f"m{number}": number for number in range(8_000)}
    yield "many variables", lambda turn: {"query": f"{query}#{turn}", "variables": members}, "GRAPHQL_VALIDATION_FAILED"


def cpu_seconds(process):
    nanoseconds = 0
    for path in glob.glob(f"/proc/{process.pid}/task/*/schedstat"):
        with open(path, encoding="ascii") as file:
            nanoseconds += int(file.read().split()[0])
    return nanoseconds / 1e9


def start(binary, more):
    folder = tempfile.mkdtemp(prefix="hostile-")
    overlay = os.path.join(folder, "overlay.toml")
    with open(overlay, "w", encoding="utf-8") as file:
        file.write(OVERLAY + more)
    files = [os.path.join(ROOT, "config/web.toml"), overlay]
    arguments = [part for file in files for part in ("--config", file)]
    process = subprocess.Popen([binary, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder)
    for line in process.stdout:
        if '"listening"' in line:
            address = json.loads(line)["address"]
            break
    else:
        sys.exit("hostile: bff-web has ended")
    # What it logs is nobody's business, but a full pipe would stop it.
    subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    return process, address


def ask(connection, body):
    headers = {"content-type": "application/json", "accept": "application/graphql-response+json"}
    try:
        connection.request("POST", "/graphql", json.dumps(body), headers)
    except (BrokenPipeError, ConnectionResetError):
        # Refused before all of it was sent.
        pass
    response = connection.getresponse()
    text = response.read()
    if response.headers.get("connection") == "close":
        connection.close()
    answer = json.loads(text)
    errors = answer.get("errors") or [{}]
    return errors[0].get("extensions", {}).get("code", response.status)


def measure(binary, more):
    process, address = start(binary, more)
    connection = http.client.HTTPConnection(address, timeout=30)
    worst, wrong = 0.0, []
    try:
        plain = [("for comparison: { me { id } }", lambda turn: {"query": f"{{ me {{ id }} }} #{turn}"}, (200,))]
        for name, body, expected in [*plain, *bodies()]:
            expected = expected if isinstance(expected, tuple) else (expected,)
            for turn in range(3):
                code = ask(connection, body(-turn))
                if code not in expected:
                    wrong.append(f"{name}: {code}, not {expected}")
                    break
            before = cpu_seconds(process)
            for turn in range(ROUNDS):
                ask(connection, body(turn))
            each = (cpu_seconds(process) - before) / ROUNDS * 1e3
            worst = max(worst, each)
            print(f"  {each:8.3f} ms  {name} ({code})")
    finally:
        connection.close()
        process.terminate()
        process.wait()
    return worst, wrong


def main():
    binary = os.path.abspath(sys.argv[1])
    print(time.strftime("%Y-%m-%d"), "CPU time of bff-web for one refusal, mean of", ROUNDS)
    failed = False
    for title, more in [
        ("as shipped", ""),
        ("with introspection and suggestions, as in the demo", "[graphql]\nintrospection = true\n"),
    ]:
        print(title)
        worst, wrong = measure(binary, more)
        print(f"  {worst:8.3f} ms  at most; the bound is {BOUND_MS} ms")
        for line in wrong:
            print("  wrong:", line)
        failed = failed or bool(wrong) or worst > BOUND_MS
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
