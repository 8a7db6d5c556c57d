"""What serving on this machine costs: requests per second of `lading serve` beside engines that run the same model in their own process.

    python benchmarks/cluster/local.py [--seconds 2] [--rounds 7] [--connections 1,16,64]

The model is an echo of JSON, so all that is measured is the way to it. Beside Lading, each alone, in turns, with one process: our own front with
a handler in its process (what the process boundary costs); uvicorn with FastAPI, as its documentation shows it (what people run on one
machine: the goal is 80 % of its rate); and uvicorn with a bare ASGI function (the most that uvicorn gives). Needs wrk, and FastAPI beside Lading.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from driving import BARE, FASTAPI, PROJECT, answers, rate, read_options, write_project

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.ray.cluster import free_ports

GOAL = 0.8
FRONT = """
import asyncio, json, socket, sys
from lading.service.app import App
from lading.service.asgi import Budget
from lading.service.counters import Counters
from lading.service.http_server import make_server
from lading.service.log import ServiceLog

class Echo:
    def takes(self, headers):
        return True

    def handle(self, exchange):
        exchange.respond(200, json.dumps(json.loads(exchange.body())).encode())

app = App(1 << 20, Counters(), ServiceLog(), Budget(1 << 28))
app.direct.handlers[b"/echo"] = Echo()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
import uvloop
uvloop.run(make_server(app, 5).serve(sockets=[listener]))
"""


@contextlib.contextmanager
def serving(command: list[str], port: int, environ: dict[str, str]) -> Iterator[str]:
    """A server, once it answers."""
    url = f"http://127.0.0.1:{port}/echo"
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 60
            while not answers(url):
                assert process.poll() is None, command
                assert time.monotonic() < until, command
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def main() -> None:
    options = read_options(__doc__, rounds=7)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_project(folder / "echo", PROJECT)
        environ = {**os.environ, "LADING_HOME": str(folder / "home")}
        subprocess.run(
            [sys.executable, "-m", "lading", "install", "-q", str(folder / "echo")], env=environ, check=True, stdout=subprocess.DEVNULL
        )
        (port,) = free_ports(1)
        commands = {
            "lading": [sys.executable, "-m", "lading", "serve", "-q", str(folder / "echo"), "-p", str(port)],
            "front": [sys.executable, "-c", FRONT, str(port)],
            "fastapi": [sys.executable, "-c", FASTAPI, "127.0.0.1", str(port)],
            "bare": [sys.executable, "-c", BARE, "127.0.0.1", str(port)],
        }
        counts = [int(word) for word in options.connections.split(",")]
        found: dict[tuple[str, int], list[float]] = {(name, count): [] for name in commands for count in counts}
        for _ in range(options.rounds):
            for name, command in commands.items():
                with serving(command, port, environ) as url:
                    rate(url, 16, 1, folder)  # warm
                    for count in counts:
                        found[name, count].append(rate(url, count, options.seconds, folder))
        print(f"{'connections':>12}" + "".join(f"{name:>10}" for name in commands) + "   of front, of FastAPI, of bare")
        for count in counts:
            rates = {name: statistics.median(found[name, count]) for name in commands}
            # The median of the rounds' own shares, so that what else the machine does falls out.
            shares = {
                name: statistics.median(ours / other for ours, other in zip(found["lading", count], found[name, count], strict=True))
                for name in ("front", "fastapi", "bare")
            }
            words = ", ".join(f"{share:.0%}" for share in shares.values()) + ("" if shares["fastapi"] >= GOAL else "  below the goal")
            print(f"{count:12}" + "".join(f"{one:10.0f}" for one in rates.values()) + f"   {words}")


if __name__ == "__main__":
    main()
