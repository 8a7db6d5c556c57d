"""What Lading costs where it has nothing to do, beside what cannot be avoided. Prints medians in milliseconds and ratios.

    python benchmarks/startup.py [--rounds N] [--serve] [PROJECT]

PROJECT (default: examples/iris) must be installable on this machine; it is copied, locked and installed once, outside of the timing.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LADING = Path(sys.executable).with_name("lading")


def timed(command: list[str], environ: dict[str, str]) -> float:
    """Wall time of one run, in milliseconds."""
    start = time.perf_counter()
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def idle(project: Path, environ: dict[str, str], rounds: int) -> None:
    """The commands in turn, round by round, so that a drifting machine hits all of them alike."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "lading --version": [str(LADING), "--version"],
        "lading --help": [str(LADING), "--help"],
        "lading install": [str(LADING), "install", "-q", str(project)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _round in range(rounds):
        for name, command in commands.items():
            times[name].append(timed(command, environ))
    floor = statistics.median(times["python -c pass"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:18} {median:8.1f} ms   {median / floor:5.2f} x")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until_ready(project: Path, environ: dict[str, str]) -> float:
    """Milliseconds from the start of ``lading serve`` to a health check that says READY."""
    port = free_port()
    start = time.perf_counter()
    command = [str(LADING), "serve", "-q", "-p", str(port), str(project)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not ready(port):
            if process.poll() is not None:
                raise SystemExit(f"lading serve ended with {process.returncode}")
            time.sleep(0.005)
        return (time.perf_counter() - start) * 1000
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ready(port: int) -> bool:
    """Whether the server answers READY."""
    with contextlib.suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health-check")
        return bool(json.loads(connection.getresponse().read())["status"] == "READY")
    return False


def bare(project: Path, python: str, environ: dict[str, str]) -> float:
    """The predictor's import and setup in its own environment, with nothing around it (Cortex style)."""
    code = "import predictor, sys, json; predictor.PythonPredictor(json.loads(sys.argv[1]))"
    start = time.perf_counter()
    subprocess.run([python, "-c", code, '{"max_iter": 200}'], cwd=project, env=environ, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Copy, install, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?", default=str(ROOT / "examples" / "iris"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        shutil.copytree(arguments.project, project)
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as it is installed
        environ |= {"LADING_HOME": str(Path(scratch) / "home")}
        done = subprocess.run([str(LADING), "install", "--json", str(project)], env=environ, check=True, capture_output=True, text=True)
        python = json.loads(done.stdout)["environments"][0]["python"]
        if not arguments.serve:
            idle(project, environ, arguments.rounds)
            return
        served, floor = [], []
        for _round in range(arguments.rounds):
            served.append(until_ready(project, environ))
            floor.append(bare(project, python, environ))
        ours, theirs = statistics.median(served), statistics.median(floor)
        print(f"import and setup alone {theirs:8.1f} ms")
        print(f"lading serve to READY  {ours:8.1f} ms   {ours - 2 * theirs:+.1f} ms beside twice the predictor's own time (goal: +300)")


if __name__ == "__main__":
    main()
