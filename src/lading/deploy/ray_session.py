"""A connection to a Ray cluster, and what can be found out about it before it hurts."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import lading
from lading.deploy.engine import Place, missing_package
from lading.deploy.ray_address import AUTO, CLIENT, require_connected
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

T = TypeVar("T")
HA_PROXY = "RAY_SERVE_ENABLE_HA_PROXY"
"""Ray's variable for its fast ingress; read where Serve's controller starts."""
NAMESPACE = "lading"
_REACHED: dict[str, set[str]] = {}
"""The addresses that this process reached clusters at, by those of the heads' stores, which are the clusters' own."""
_PROBE_SECONDS = 60.0
_REACH_SECONDS = 5.0
_TOKEN_WORDS = ("authentication", "InvalidAuthToken", "auth token", "Unauthenticated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. ``lading`` is the version there, None where it cannot be imported; ``storage`` whether a head keeps its state outside."""

    address: str
    head: bool
    lading: str | None
    python: str
    ray: str
    storage: bool = False


def import_ray() -> Any:
    """The package ray.

    Raises:
        LadingError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 -- an extra, and half a second
        import ray.serve  # noqa: PLC0415 -- as above
    except ImportError as error:
        raise missing_package("ray", "ray[serve]") from error
    return ray


@contextlib.contextmanager
def session(place: Place, environ: Mapping[str, str]) -> Iterator[Any]:
    """The package ray, connected to the cluster at a place. The connection is kept until the process ends: making it takes seconds.

    Raises:
        LadingError: if there is no cluster, or it does not take us, or the process is connected to another one, or (from what is done in it)
            it fails.
    """
    ray = import_ray()
    address = place.address or environ.get("RAY_ADDRESS") or AUTO
    if not ray.is_initialized():
        _connect(ray, address)
    with telling():
        own = str(ray.get_runtime_context().gcs_address)
        require_connected(address, own, _REACHED.get(own, ()))
        yield ray


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Say what Ray raises as a problem.

    Raises:
        LadingError: instead of what it raises.
    """
    try:
        yield
    except failures() as error:
        raise LadingError(_failed(error)) from error


def _talk_apart(ray: Any) -> None:
    """Have what the cluster says of its nodes go to standard error: Ray prints it among our data, whatever ``log_to_driver`` says."""
    worker = ray._private.worker  # noqa: SLF001 -- there is no public way
    show = worker.print_to_stdstream

    def told(data: Mapping[str, Any], **more: Any) -> None:
        show({**data, "is_err": True}, **more)

    worker.print_to_stdstream = told


def _connect(ray: Any, address: str) -> None:
    _check_reached(address)
    own = {"env_vars": {HA_PROXY: "1", "RAY_USAGE_STATS_ENABLED": "0"}}
    _talk_apart(ray)
    try:
        with _unheard():
            ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR, runtime_env=own)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        cluster = str(ray.get_runtime_context().gcs_address)
        _REACHED.setdefault(cluster, set()).add(address)
        if not address.startswith(CLIENT):
            # Ray's API of states looks for a cluster by itself, and there may be several on a machine.
            os.environ["RAY_ADDRESS"] = cluster
    except Exception as error:
        raise LadingError(_not_connected(address, error)) from error


def failures() -> tuple[type[Exception], ...]:
    """What Ray, Serve, and the service behind the dashboard raise when they cannot do what they are asked."""
    import ray  # noqa: PLC0415 -- as above
    import requests  # noqa: PLC0415 -- it comes with Ray
    from ray.serve.exceptions import RayServeException  # noqa: PLC0415 -- an extra
    from ray.util.state.exception import RayStateApiException  # noqa: PLC0415 -- as above

    return (ray.exceptions.RayError, RayServeException, RayStateApiException, requests.RequestException, ConnectionError, TimeoutError)


def dashboard_url() -> str | None:
    """The address of the dashboard, as the cluster told it to this process; None where there is none."""
    import ray  # noqa: PLC0415 -- an extra

    if ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
        url = ray.util.client.ray._get_dashboard_url()  # noqa: SLF001 -- no public name for it
    else:
        from ray._private import worker  # noqa: PLC0415 -- as above

        url = worker.get_dashboard_url()  # type: ignore[no-untyped-call]
    return f"http://{url.removeprefix('http://')}" if url else None


def patiently(work: Callable[[], T], seconds: float = 30.0) -> T:
    """Ask Serve's controller, again while it is being restarted: Ray starts it anew when it or its node ends."""
    import ray  # noqa: PLC0415 -- an extra

    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except ray.exceptions.RayActorError:
            if time.monotonic() > until:
                raise
            time.sleep(1.0)


def _failed(error: Exception) -> Problem:
    return Problem(
        rule="ray-failed",
        what=f"The Ray cluster did not do what it was asked to: {' '.join(str(error).split())[:400]}",
        instead="Look at `ray status` and at the dashboard, and try again.",
        code=ExitCode.DEPLOY,
    )


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Keep what Ray's native code writes to standard error, a line a second where it fails, from the user: we say what failed."""
    sys.stderr.flush()
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _check_reached(address: str) -> None:
    """Say at once that nobody listens there; Ray itself would try for minutes.

    Raises:
        LadingError: if nobody does.
    """
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if address == AUTO or not (colon and port.isascii() and port.isdigit() and int(port) < 65536):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except OSError as error:
        raise LadingError(_not_connected(address, error)) from error


def _not_connected(address: str, error: Exception) -> Problem:
    text = " ".join(str(error).split())
    shown = "this machine's cluster" if address == AUTO else address
    # Where something listens and Ray still does not get in, it is the token: Ray itself says it to its log alone.
    unheard = address != AUTO and type(error) is ConnectionError  # not one of its subclasses, which the system raises
    if unheard or any(word.lower() in f"{type(error).__name__} {text}".lower() for word in _TOKEN_WORDS):
        return Problem(
            rule="ray-token",
            what=f"The Ray cluster {shown} does not take this machine's token, or there is none.",
            origin=Origin("RAY_AUTH_TOKEN"),
            why="Ray asks every node and every program for one shared token.",
            instead="Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token (~/.ray/auth_token by default).",
            code=ExitCode.NETWORK,
        )
    if "version mismatch" in text.lower():
        return Problem(
            rule="ray-version",
            what=f"The Ray cluster {shown} runs another version of Ray or Python than this machine.",
            why=text[:400],
            instead="Install Lading with the cluster's versions: the same ray, and the same minor version of Python.",
            code=ExitCode.DEPLOY,
        )
    return Problem(
        rule="ray-unreachable",
        what=f"There is no Ray cluster to be reached at {shown}: {text[:400]}",
        origin=Origin("--to ray"),
        instead="Start one (`ray start --head`), or name it: --to ray HOST:6379 on one of its machines, --to ray ray://HOST:10001 from others.",
        code=ExitCode.NETWORK,
    )


def nodes(ray: Any) -> list[Node]:
    """Every living node, as it says itself.

    Raises:
        LadingError: if one does not answer.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 -- as above

    alive = [node for node in ray.nodes() if node["Alive"]]
    probe = ray.remote(num_cpus=0, max_retries=1)(_probe)
    asked = {
        node["NodeID"]: probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in alive
    }
    _done, late = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PROBE_SECONDS)
    if late:
        missing = [node["NodeManagerAddress"] for node in alive if asked[node["NodeID"]] in late]
        raise LadingError(
            Problem(
                rule="ray-node-silent",
                what=f"Nodes of the Ray cluster do not answer: {', '.join(missing)}.",
                why=f"A task of no cost did not run there within {_PROBE_SECONDS:g} s.",
                instead="Look at `ray status` and at the nodes' logs, and take them out of the cluster if they are gone.",
                code=ExitCode.DEPLOY,
            )
        )
    found = []
    for node in alive:
        head = "node:__internal_head__" in node["Resources"]
        version, python, ray_version, storage = ray.get(asked[node["NodeID"]])
        found.append(
            Node(
                address=node["NodeManagerAddress"],
                head=head,
                lading=version,
                python=python,
                ray=ray_version,
                storage=storage,
            )
        )
    return found


def _probe() -> tuple[str | None, str, str, bool]:
    """Run on a node: Lading's version, Python's, Ray's, and whether the head's store is outside of its process."""
    import importlib  # noqa: PLC0415 -- this function travels without its module
    import platform  # noqa: PLC0415 -- as above
    from pathlib import Path  # noqa: PLC0415 -- as above

    import ray  # noqa: PLC0415 -- as above

    version: str | None = None
    try:
        version = importlib.import_module("lading").__version__
    except ImportError:
        version = None
    storage = False
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("gcs_server") and any(word.startswith("--redis_address=") and word != "--redis_address=" for word in words):
            storage = True
    return version, platform.python_version(), ray.__version__, storage


def problems_of(found: list[Node]) -> list[Problem]:
    """What would hurt later, a problem for each kind: those that keep a deployment from working first."""
    problems = []
    without = [node.address for node in found if node.lading is None]
    if without:
        problems.append(
            Problem(
                rule="ray-node-without-lading",
                what=f"Lading is not installed beside Ray on {', '.join(without)}.",
                instead=f'Install it into the Python that Ray runs on there: pip install "lading[ray]=={lading.__version__}".',
                code=ExitCode.DEPLOY,
            )
        )
    others = [f"{node.address} ({node.lading})" for node in found if node.lading not in (None, lading.__version__)]
    if others:
        problems.append(
            Problem(
                rule="ray-node-other-lading",
                what=f"Another version of Lading than this one ({lading.__version__}) is on {', '.join(others)}.",
                instead="Install one version everywhere.",
                code=ExitCode.DEPLOY,
            )
        )
    here = ".".join(map(str, sys.version_info[:2]))
    pythons = [f"{node.address} ({node.python})" for node in found if ".".join(node.python.split(".")[:2]) != here]
    if pythons:
        problems.append(
            Problem(
                rule="ray-version",
                what=f"Ray runs on another Python than this one ({here}) on {', '.join(pythons)}.",
                why="What Ray passes between Pythons of different minor versions crashes. Models are free: they run on Pythons of their own.",
                instead="Run Ray on the same minor version of Python everywhere.",
                code=ExitCode.DEPLOY,
            )
        )
    return problems


def slow_ingress() -> list[Problem]:
    """Whether Serve was started by something that did not ask for its fast ingress."""
    from ray.util.state import list_actors  # noqa: PLC0415 -- an extra

    names = [
        str(actor.name) for actor in list_actors(dashboard_url(), filters=[("class_name", "=", "ProxyActor"), ("state", "=", "ALIVE")])
    ]
    if all("fallback" in name for name in names):
        return []
    return [
        Problem(
            rule="ray-slow-ingress",
            what="Serve runs with its ingress in Python on this cluster.",
            why="It answers a tenth of the requests that the one with HAProxy does. It was started by something other than Lading.",
            instead=f"Set {HA_PROXY}=1 where Ray's nodes are started, and start Serve anew (`serve shutdown`) when nobody needs it.",
            code=ExitCode.DEPLOY,
        )
    ]


def warnings_of(found: list[Node], environ: Mapping[str, str]) -> list[Problem]:
    """What works, and will hurt on a bad day."""
    warnings = []
    if not any(node.storage for node in found if node.head):
        warnings.append(
            Problem(
                rule="ray-head-without-storage",
                what="The head of the Ray cluster keeps its state in its own memory.",
                why="When the head ends, everything seems well for about a minute; then every node stops, and all that was deployed is gone.",
                instead="Start the head with Redis behind it: RAY_REDIS_ADDRESS=HOST:6379 ray start --head.",
                code=ExitCode.DEPLOY,
            )
        )
    if environ.get("RAY_AUTH_MODE") != "token":
        warnings.append(
            Problem(
                rule="ray-without-token",
                what="This machine sends the Ray cluster no token.",
                origin=Origin("RAY_AUTH_MODE"),
                why="Whoever reaches the ports of a cluster without tokens can run anything on it.",
                instead="Start every node with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN_PATH, and set both here.",
                code=ExitCode.DEPLOY,
            )
        )
    return warnings
