"""What is asked of Ray Serve, and what it tells, in our words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from lading.deploy.engine import ApiStatus, Endpoint, State
from lading.deploy.ray_plan import HOST, Application
from lading.deploy.ray_session import dashboard_url, patiently, telling
from lading.model.files import content_hash
from lading.model.problems import ExitCode, LadingError, Problem

_REACH_SECONDS = 10.0
_AGENT_SECONDS = 60.0
_END_SECONDS = 90.0
"""Beyond what a replica may take to finish: Ray's ingress leaves it alone for half a minute before."""
_POLL_SECONDS = 0.25


def ask(made: Iterable[Application]) -> None:
    """Let Serve run applications, as soon as it can; those of these names that it runs are updated."""
    from ray import serve  # noqa: PLC0415 -- an extra

    targets = [_target(one) for one in made]
    patiently(lambda: serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False))


def _target(application: Application) -> Any:
    from ray import serve  # noqa: PLC0415 -- an extra
    from ray.serve.api import RunTarget  # noqa: PLC0415 -- as above

    host: Any
    if application.plan.split is None:
        from lading.deploy.ray_host import Host as host  # noqa: N813, PLC0415 -- it brings the server with it
    else:
        from lading.deploy.ray_split import SplitHost as host  # noqa: N813, PLC0415 -- as above
    # By its version Serve knows that the replicas there are do, where their number alone changes.
    plan = application.as_json()["plan"]
    version = content_hash(json.dumps(plan, sort_keys=True).encode())[:16]
    hosted: Any = serve.deployment(**application.options)(serve.ingress()(host))
    hosted._version = version  # noqa: SLF001 -- without one, Serve makes one up each time
    return RunTarget(hosted.bind(plan), name=application.name, route_prefix=application.route)


def start(port: int) -> None:
    """Let every node take requests. Where Serve is running, it stays as it was started."""
    from ray import serve  # noqa: PLC0415 -- an extra

    serve.start(proxy_location="EveryNode", http_options={"host": "0.0.0.0", "port": port})  # noqa: S104 -- a cluster's own network


def remove(names: Iterable[str]) -> None:
    """Let Serve end applications, all at the same time; those that it does not run are none of its. What they work on may finish."""
    import ray  # noqa: PLC0415 -- an extra
    from ray.serve.context import _get_global_client  # noqa: PLC0415 -- as above, and no public name for several at a time

    there = sorted(set(names) & set(patiently(_applications)))
    if there:
        client: Any = _get_global_client()
        # Serve's own function does not wait until its controller, which may be starting anew, has heard it.
        patiently(lambda: ray.get(client._controller.delete_apps.remote(there)))  # noqa: SLF001 -- as above


def wait_ended(ending: Iterable[Application], renew: Callable[[], None] = lambda: None) -> None:
    """Wait until Serve has ended applications, which may take their replicas' time to finish and some more; ``renew`` is called meanwhile.

    Raises:
        TimeoutError: if it takes longer.
    """
    left = {one.name: one.plan.drain_seconds for one in ending}
    seconds = max(left.values(), default=0.0) + _END_SECONDS
    until = time.monotonic() + seconds
    while any(name in left and str(_value(one.status)) == "DELETING" for name, one in patiently(_applications).items()):
        if time.monotonic() > until:
            raise TimeoutError(f"Serve did not end {', '.join(sorted(left))} within {seconds:g} s.")
        renew()
        time.sleep(_POLL_SECONDS)


def _applications() -> Mapping[str, Any]:
    from ray import serve  # noqa: PLC0415 -- an extra

    return serve.status().applications


def states(names: Iterable[str]) -> tuple[dict[str, str], Mapping[str, Any]]:
    """The state of each application in Serve's words, and all that Serve tells of those that run."""
    running = patiently(_applications)
    return {name: str(running[name].status.value) if name in running else "NOT_STARTED" for name in names}, running


def all_running(names: Iterable[str]) -> bool:
    """Whether every one of these applications takes requests."""
    return all(state == "RUNNING" for state in states(names)[0].values())


def require_free(made: Iterable[Application], owned: set[str]) -> None:
    """Refuse names and routes of applications that this deployment does not own: Serve would replace the first ones.

    Raises:
        LadingError: if one is taken.
    """
    there = {name: one for name, one in details()["applications"].items() if str(_value(one["status"])) != "DELETING" and name not in owned}
    routes = {one["route_prefix"]: name for name, one in there.items()}
    for one in made:
        if one.name in there or one.route in routes:
            name = one.name if one.name in there else routes[one.route]
            what = f"The cluster has a Serve application {name} already, which is no part of this deployment."
            why = None if one.name in there else f"It answers below {one.route}, where {one.plan.api} would be."
            instead = "Give another name with --name." if one.name in there else "Write --route PATH with another path, or delete it."
            raise LadingError(Problem(rule="ray-application-taken", what=what, why=why, instead=instead, code=ExitCode.DEPLOY))


def details() -> dict[str, Any]:
    """All that Serve's controller tells its dashboard."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415 -- an extra, and no public name for it

    client: Any = _get_global_client()
    found: dict[str, Any] = patiently(client.get_serve_details)
    return found


def actors(told: Mapping[str, Any]) -> list[str]:
    """The ids of the actors that are an application's replicas."""
    replicas = told.get("deployments", {}).get(HOST, {}).get("replicas", [])
    return [str(one["actor_id"]) for one in replicas if one.get("actor_id")]


def dashboard() -> str | None:
    """The address of Serve's page; None where the cluster has none."""
    url = dashboard_url()
    return f"{url}/#/serve" if url else None


def log_of(actor: str, *, follow: bool) -> Iterator[str]:
    """What an actor printed to standard error, line by line; then what it prints.

    As `ray.util.state.get_log`, which does not work from outside of the cluster.

    Raises:
        LadingError: if the cluster has no dashboard, or it does not give the log.
    """
    import requests  # noqa: PLC0415 -- it comes with Ray
    from ray._private.authentication.http_token_authentication import (  # noqa: PLC0415 -- as above
        get_auth_headers_if_auth_enabled,
    )
    from ray.util.state.exception import RayStateApiException  # noqa: PLC0415 -- as above

    page = dashboard_url()
    if page is None:
        what = "The Ray cluster runs without its dashboard, which gives its logs."
        raise LadingError(Problem(rule="ray-without-dashboard", what=what, instead="Start its head with it.", code=ExitCode.DEPLOY))
    wanted: dict[str, str] = {"actor_id": actor, "suffix": "err", "lines": "-1"}
    address = f"{page}/api/v0/logs/{'stream' if follow else 'file'}"
    headers = get_auth_headers_if_auth_enabled({})
    until = time.monotonic() + _AGENT_SECONDS
    while True:
        with telling(), requests.get(address, wanted, stream=True, headers=headers, timeout=(_REACH_SECONDS, None)) as answer:
            if answer.status_code == HTTPStatus.OK:
                for line in answer.iter_lines(chunk_size=1 << 16):
                    yield line.decode(errors="replace")
                return
            # A node's agent, which reads its logs, starts a while after the node.
            if "Agent for node" not in answer.text or time.monotonic() > until:
                raise RayStateApiException(answer.text)
        time.sleep(1.0)


def api_status(application: Application, told: Mapping[str, Any] | None) -> ApiStatus:
    """An API, as Serve tells of its application; None if it has none."""
    if told is None:
        return ApiStatus(name=application.plan.api, kind=application.kind, state=State.ABSENT, wanted=0, ready=0, updated=0)
    hosted = told["deployments"].get(HOST, {})
    wanted = int(hosted.get("target_num_replicas") or 0)
    ready = sum(str(_value(one["state"])) == "RUNNING" for one in hosted.get("replicas", ()))
    word = str(_value(told["status"]))
    words = {"RUNNING": State.LIVE, "DEPLOYING": State.UPDATING, "NOT_STARTED": State.UPDATING, "DELETING": State.STOPPED}
    state = words.get(word, State.FAILED)
    if state is State.LIVE and ready < wanted:
        state = State.DEGRADED
    texts = dict.fromkeys(text for text in (told.get("message"), hosted.get("message")) if text)
    return ApiStatus(
        name=application.plan.api,
        kind=application.kind,
        state=state,
        wanted=wanted,
        ready=ready,
        updated=ready if state is State.LIVE else 0,
        messages=tuple(texts) if state is not State.LIVE else (),
    )


def _value(state: Any) -> Any:
    return getattr(state, "value", state)


def endpoints(made: tuple[Application, ...], told: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Every node takes requests for every API; the addresses are those of the nodes."""
    port = (told.get("http_options") or {}).get("port") or 8000
    addresses = sorted({str(one["node_ip"]) for one in (told.get("proxies") or {}).values() if one.get("node_ip")})
    return tuple(
        Endpoint(api=one.plan.api, url=f"http://{address}:{port}{one.route.rstrip('/')}", reach="cluster")
        for one in made
        for address in addresses
    )


def reasons(application: Any) -> str:
    """All that Serve says of what is wrong with an application."""
    texts = [application.message, *(one.message for one in application.deployments.values())]
    return "\n".join(dict.fromkeys(text.strip() for text in texts if text)) or "Serve does not say why"


def first_line(text: str) -> str:
    """The model's own words, where Ray's traceback has them."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "setup of" in line or "Error:" in line]
    return (telling or lines or ["Serve does not say why"])[-1].rstrip(".")
