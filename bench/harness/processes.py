"""Processes of a run: started on a core of their own, measured, and ended by their ids. Nobody else's are touched."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server of this run, with its children."""

    def __init__(self, name, command, cores, run, environment=None, output=None):
        self.name = name
        self.log = run / f"{name}.out"
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=open(output or self.log, "wb"),
            stderr=open(run / f"{name}.err", "wb"),
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    def tree(self):
        """Its id and those of its descendants."""
        children = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found, new = [], [self.process.pid]
        while new:
            found += new
            new = [child for parent in new for child in children.get(parent, [])]
        return found

    def cpu(self):
        """Seconds of user and system time so far, of the whole tree."""
        total = 0
        for pid in self.tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self):
        """Proportional set size of the whole tree, in bytes."""
        total = 0
        for pid in self.tree():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
        return total

    def wait_until_ready(self, port, seconds=20):
        """Until `GET /ready` is answered with 200."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.name} is not ready")

    def wait_for(self, port, seconds=20):
        """Until it listens; says what it said when it does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        said = self.log.with_suffix(".err").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.name} does not listen on {port}: {said}")

    def stop(self):
        """Ends it, and what it started and left behind."""
        pids = self.tree()
        for sign, targets in ((signal.SIGTERM, pids[:1]), (signal.SIGTERM, pids[1:]), (signal.SIGKILL, pids)):
            for pid in targets:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
            until = time.monotonic() + 5
            while time.monotonic() < until:
                self.process.poll()
                if not any(Path(f"/proc/{pid}").exists() for pid in pids):
                    return
                time.sleep(0.05)
