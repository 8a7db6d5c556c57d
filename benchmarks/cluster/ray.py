"""What serving through Ray costs: requests per second of a model of ours beside an in-process handler of Serve's own, on one host.

    python benchmarks/cluster/ray.py [--seconds 2] [--rounds 9] [--connections 1,16,64]

Both are behind the same ingress (HAProxy), with one replica and the same JSON. The goal is 80 % of the bare handler's rate. Beside it: how long
all of a deployment takes the first time, again, and with another number of replicas (what environments cost is in materialise.py). Needs wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from driving import PROJECT, rate, read_options, write_project

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.ray.cluster import Cluster

GOAL = 0.8
PARTS = {"ServeReplica:": "replica", "haproxy -db": "ingress", "lading_worker": "model"}
"""What a request goes through, by what is in the commands of the processes."""
BARE = """
import json, sys
import ray
from ray import serve

ray.init(sys.argv[1], namespace="bare", log_to_driver=False, runtime_env={"env_vars": {"RAY_SERVE_ENABLE_HA_PROXY": "1"}})
serve.start(proxy_location="EveryNode", http_options={"host": "0.0.0.0", "port": int(sys.argv[2])})

@serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.2})
@serve.ingress()
class Echo:
    def __serve_build_asgi_app__(self):
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            out = json.dumps(json.loads(body)).encode()
            head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(out))]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": out})
        return app

serve.run(Echo.bind(), name="bare", route_prefix="/bare")
"""


def timed(words: str, cluster: Cluster, folder: Path, *more: str) -> None:
    before = time.perf_counter()
    if more:
        cluster.verb("scale", "echo", *more)
    else:
        cluster.deploy(folder, "--name", "echo")
    print(f"{words:45} {time.perf_counter() - before:6.1f} s")


def main() -> None:
    options = read_options(__doc__, rounds=9)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_project(folder / "echo", PROJECT)
        environ = {**os.environ, "LADING_HOME": str(folder / "home")}
        with Cluster(environ) as cluster:
            timed("deployed the first time", cluster, folder / "echo")
            timed("deployed again", cluster, folder / "echo")
            timed("scaled to two replicas", cluster, folder / "echo", "echo", "2")
            timed("scaled to one replica", cluster, folder / "echo", "echo", "1")
            subprocess.run([sys.executable, "-c", BARE, cluster.address, str(cluster.http)], env=cluster.environ, check=True)
            time.sleep(5)
            print(f"{'connections':>12} {'bare':>9} {'lading':>9} {'share':>6}   processor time of a request in µs")
            for count in map(int, options.connections.split(",")):
                compare(cluster, count, options, folder)


def compare(cluster: Cluster, count: int, options: argparse.Namespace, folder: Path) -> None:
    """Both with so many connections, in turns. The share is the median of the rounds' own, so that what else the machine does falls out."""
    rates: dict[str, list[float]] = {"bare": [], "lading": []}
    costs: dict[str, Counter[str]] = {"bare": Counter(), "lading": Counter()}
    for _ in range(options.rounds):
        for name, path in (("bare", "bare"), ("lading", "echo/echo")):
            before = processor_seconds(folder / "home")
            rates[name].append(rate(f"{cluster.url}/{path}", count, options.seconds, folder))
            costs[name] += Counter(processor_seconds(folder / "home")) - Counter(before)
    one, two = (statistics.median(rates[name]) for name in rates)
    share = statistics.median(ours / bare for bare, ours in zip(rates["bare"], rates["lading"], strict=True))
    per_request = {
        name: {part: seconds / (sum(rates[name]) * options.seconds) for part, seconds in cost.items()} for name, cost in costs.items()
    }
    words = "; ".join(
        f"{name}: " + ", ".join(f"{part} {cost * 1e6:.0f}" for part, cost in parts.items()) for name, parts in per_request.items()
    )
    print(f"{count:12} {one:9.0f} {two:9.0f} {share:6.0%}   {words}{'' if share >= GOAL else '  below the goal'}")


def processor_seconds(home: Path) -> dict[str, float]:
    """What the ingress, the replicas and the model's processes have used so far: those that have this home."""
    found: dict[str, float] = {}
    mark = f"LADING_HOME={home}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            part = next((part for mark, part in PARTS.items() if mark in command), None)
            if part is not None and mark in (process / "environ").read_bytes().split(b"\0"):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                found[part] = found.get(part, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


if __name__ == "__main__":
    main()
