"""From samples to a page: tables, targets, a plot (SVG), and what the machine was."""

import datetime
import os
import platform
import statistics
from pathlib import Path

from .load import median, spread
from .peers import PEERS, envoy_binary, gateway_files, hash_of, version_of
from .world import PROJECT

COLUMNS = ["peer", "CPU per request", "ratio", "spread", "requests/s", "core busy"]


def table(row, samples, absent):
    """One row's table in Markdown."""
    reference = median(samples[row.reference]) if row.reference in samples else None
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|--:|--:|--:|--:|--:|"]
    for name in row.works:
        label = f"**{name}**" if PEERS[name].ours else name
        if name not in samples:
            lines.append(f"| {label} | not measured here: {absent.get(name, '?')} | | | | |")
            continue
        of = samples[name]
        ratio = f"{median(of) / reference:.2f}" if reference else ""
        rate = statistics.median(sample.per_second for sample in of)
        busy = statistics.median(sample.busy for sample in of)
        lines.append(f"| {label} | {median(of):.1f} µs | {ratio} | ±{spread(of) * 50:.0f} % | {rate:,.0f} | {busy * 100:.0f} % |")
    return "\n".join(lines)


def verdicts(row, samples):
    """Each target with what was measured."""
    lines = []
    for ours, peer, most in row.targets:
        if ours in samples and peer in samples:
            ratio = median(samples[ours]) / median(samples[peer])
            lines.append(f"- {ours} at most {most:.2f} of {peer}: **{ratio:.2f}**, {'met' if ratio <= most else 'missed'}")
        else:
            lines.append(f"- {ours} at most {most:.2f} of {peer}: not measured here")
    return "\n".join(lines)


def machine():
    """What it was measured on."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1]) >> 20
    load = " ".join(Path("/proc/loadavg").read_text().split()[:3])
    lines = [
        f"- {os.cpu_count()} cores of {cpu}, {memory} GiB, Linux {platform.release()}; load average at the end {load}",
        "- the measured process on core 0, load generator and services on core 1",
    ]
    for bff in ("web", "mobile"):
        binary, configs = gateway_files(bff)
        if binary.exists():
            lines.append(f"- bff-{bff}: binary {hash_of([binary])}, configuration {hash_of(configs)} ({' + '.join(path.name for path in configs)})")
    lines.append(f"- commit {version_of(['git', '-C', PROJECT, 'describe', '--always', '--dirty'])}")
    versions = {
        "nginx": ["/usr/sbin/nginx", "-v"], "haproxy": ["/usr/sbin/haproxy", "-v"], "Varnish": ["/usr/sbin/varnishd", "-V"],
        "Node": ["node", "--version"], "Envoy": [envoy_binary() or "envoy", "--version"],
    }
    # Envoy begins with its own path, which is nobody's business.
    lines += [f"- {name}: {version_of(command).removeprefix(command[0]).strip()}" for name, command in versions.items()]
    return "\n".join(lines)


def plot(results):
    """Bars of CPU time per request by row, in SVG; a line over each bar spans its rounds."""
    height, top, parts = 22, 0, []
    for row, samples, _absent in results:
        if not samples:
            continue
        longest = max(max(sample.cpu_us for sample in of) for of in samples.values())
        parts.append(f'<text x="10" y="{top + 20}" class="t">{row.number}. {row.title}: CPU time per request, µs</text>')
        top += 30
        for name, of in samples.items():
            scale = 420 / longest
            values = [sample.cpu_us for sample in of]
            middle = top + height / 2
            parts.append(f'<text x="200" y="{middle + 4}" class="n">{name}</text>')
            kind = "o" if PEERS[name].ours else "p"
            parts.append(f'<rect x="210" y="{top + 3}" width="{median(of) * scale:.1f}" height="{height - 6}" class="{kind}"/>')
            parts.append(f'<line x1="{210 + min(values) * scale:.1f}" x2="{210 + max(values) * scale:.1f}" y1="{middle}" y2="{middle}" class="r"/>')
            parts.append(f'<text x="{216 + max(values) * scale:.1f}" y="{middle + 4}" class="v">{median(of):.1f}</text>')
            top += height
        top += 20
    style = (
        "text{font:12px sans-serif;fill:#222}.t{font-weight:bold}.n{text-anchor:end}.v{fill:#555}"
        ".o{fill:#c2410c}.p{fill:#94a3b8}.r{stroke:#111;stroke-width:1.5}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="700" height="{top}" viewBox="0 0 700 {top}"><style>{style}</style>'
        f'<rect width="700" height="{top}" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )


def write(folder, results, sections, arguments):
    """The page and its plot; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d-%H%M")
    (folder / f"{stamp}.svg").write_text(plot(results))
    parts = [
        f"# Benchmarks, {stamp}",
        f"{arguments.rounds} rounds in turn of {arguments.seconds} s for each peer; medians; ± is half of what lies between the lowest "
        "and the highest round. Ours do the whole edge's work: token, two limits, request id, metrics, a log line, deadline, "
        "security headers. How it is measured is in [README.md](../README.md).",
        machine(),
        f"![CPU time per request]({stamp}.svg)",
    ]
    for row, samples, absent in results:
        parts += [f"## {row.number}. {row.title}", table(row, samples, absent), verdicts(row, samples)]
    for number, title, text, targets in sections:
        lines = [f"- {what}: **{value:.2f}**, {'met' if met else 'missed'}" for what, value, met in targets]
        parts += [f"## {number}. {title}", text, "\n".join(lines)]
    path = folder / f"{stamp}.md"
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
    return path
