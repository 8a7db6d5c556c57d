"""What serving through Kubernetes costs: requests per second of a deployment of ours beside bare pods that run the same model in their own process.

    KUBECONFIG=... LADING_TEST_KUBERNETES_LOAD=... LADING_TEST_KUBERNETES_NODE=... \\
        python benchmarks/cluster/kubernetes.py [--seconds 2] [--rounds 9] [--connections 1,16,64]

The variables are those of tests/kubernetes/README.md. The model is an echo of JSON. All pods are of one image, have the same requests, limits and
security context, and are reached through a Service of their own at a NodePort of the same node; the bare ones run uvicorn with FastAPI, as its
documentation shows it (the goal is 80 % of its rate), and uvicorn with a bare ASGI function (the most that uvicorn gives). They are asked in turns.
FastAPI comes from the package index that is configured here. Needs wrk, and
FastAPI beside Lading, whose versions it takes; the image stays in the nodes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import secrets
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from driving import BARE, FASTAPI, PROJECT, answers, rate, read_options, write_project

sys.path.pop(0)  # this folder, where the client's package `kubernetes` would be this file
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.images.support import make_base, with_libraries
from tests.kubernetes.conftest import OfThisVersion, missing_kinds

from lading import pipeline
from lading.deploy.bundle import portable
from lading.deploy.engine import Deployment, Place
from lading.deploy.kubernetes_shape import PORT
from lading.model.events import silent

GOAL = 0.8
PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools")
OTHERS = {"fastapi": FASTAPI, "bare": BARE}


def built(folder: Path, tag: str) -> Deployment:
    """The project's image, in the nodes, as a deployment. FastAPI is in the model's environment, as a user of it would have it."""
    requirements = "".join(f"{name}=={version(name)}\n" for name in PACKAGES)
    write_project(folder / "echo", {**PROJECT, "requirements.txt": requirements})
    # pydantic's compiled part needs the compiler's library, which the smallest base has not.
    compiled = find_spec("pydantic_core._pydantic_core")
    assert compiled is not None
    base = with_libraries(make_base(folder / "small"), folder / "base", str(compiled.origin))
    archive = folder / "image.tar"
    words = ["build", "-q", str(folder / "echo"), "-t", tag, "--base", str(base), "-o", f"docker-archive:{archive}"]
    environ = {**os.environ, "LADING_HOME": str(folder / "home")}
    subprocess.run([sys.executable, "-m", "lading", *words], env=environ, check=True, stdout=subprocess.DEVNULL)
    command = os.environ["LADING_TEST_KUBERNETES_LOAD"].replace("{}", str(archive))
    subprocess.run(shlex.split(command), check=True, stdout=subprocess.DEVNULL)
    service = portable(pipeline.read(pipeline.Options(directory=folder / "echo")))
    options = {"image_pull_policy": "Never", "service_type": "NodePort"}
    return Deployment(name=f"bench-{secrets.token_hex(4)}", service=service, image=tag, options=options)


def bare_pod(engine: OfThisVersion, deployment: Deployment, name: str, code: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our own pod with another command and without our probes, and its Service."""
    (ours,) = (one for one in engine.render(deployment) if one["kind"] == "Deployment")
    spec = copy.deepcopy(ours["spec"]["template"]["spec"])
    (container,) = spec["containers"]
    for part in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        container.pop(part, None)
    container["command"] = ["/opt/venv/bin/python", "-c", code, "0.0.0.0", str(PORT)]
    named = {"name": f"{deployment.name}-{name}", "labels": {"benchmark": f"{deployment.name}-{name}"}}
    ports = [{"port": 80, "targetPort": PORT}]
    return (
        {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"type": "NodePort", "selector": named["labels"], "ports": ports},
        },
    )


@contextlib.contextmanager
def running(engine: OfThisVersion, deployment: Deployment) -> Iterator[dict[str, str]]:
    """The addresses of our deployment and of the bare pods, once they answer; all of it is taken away at the end."""
    objects = [one for name, code in OTHERS.items() for one in bare_pod(engine, deployment, name, code)]
    services = {"lading": deployment.name, **{name: f"{deployment.name}-{name}" for name in OTHERS}}
    try:
        for one in objects:
            engine.cluster.checked(engine.cluster.create(one), f"create {one['kind']}")
        engine.wait(engine.apply(deployment, silent), silent, 300)
        yield {name: address(engine, service) for name, service in services.items()}
    finally:
        for one in objects:
            engine.cluster.delete(one["kind"], one["metadata"]["name"])
        engine.delete(deployment.name, None, silent)


def address(engine: OfThisVersion, service: str) -> str:
    """Where a Service is reached at the node, once its pod answers."""
    found = engine.cluster.get("Service", service)
    assert found is not None, service
    node = os.environ.get("LADING_TEST_KUBERNETES_NODE", "127.0.0.1")
    url = f"http://{node}:{found['spec']['ports'][0]['nodePort']}/echo"
    until = time.monotonic() + 120
    while not answers(url):
        assert time.monotonic() < until, service
        time.sleep(0.2)
    return url


def main() -> None:
    options = read_options(__doc__, rounds=9)
    if missing := [name for name in ("KUBECONFIG", "LADING_TEST_KUBERNETES_LOAD") if not os.environ.get(name)]:
        raise SystemExit(f"{', '.join(missing)} not set: see tests/kubernetes/README.md")
    engine = OfThisVersion(Place(engine="kubernetes", options={"kubeconfig": os.environ["KUBECONFIG"]}), poll=0.2)
    engine.left_out = missing_kinds(engine.cluster)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        deployment = built(folder, "lading-benchmark:1")
        with running(engine, deployment) as urls:
            for url in urls.values():
                rate(url, 16, 1, folder)  # warm
            print(f"load of the last minute before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            print(f"{'connections':>12}" + "".join(f"{name:>10}" for name in urls) + "   of FastAPI, of bare (lowest to highest round)")
            for count in map(int, options.connections.split(",")):
                compare(urls, count, options, folder)


def compare(urls: dict[str, str], count: int, options: argparse.Namespace, folder: Path) -> None:
    """All with so many connections, in turns. The shares are the medians of the rounds' own, so that what else the machine does falls out."""
    found: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(options.rounds):
        for name, url in urls.items():
            found[name].append(rate(url, count, options.seconds, folder))
    shares = {name: sorted(ours / other for ours, other in zip(found["lading"], found[name], strict=True)) for name in OTHERS}
    words = ", ".join(f"{statistics.median(each):.0%} ({each[0]:.0%} to {each[-1]:.0%})" for each in shares.values())
    below = "" if statistics.median(shares["fastapi"]) >= GOAL else "  below the goal"
    print(f"{count:12}" + "".join(f"{statistics.median(rates):10.0f}" for rates in found.values()) + f"   {words}{below}")


if __name__ == "__main__":
    main()
