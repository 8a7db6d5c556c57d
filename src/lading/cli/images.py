"""Images where ``serve`` and ``predict`` take a project: run by podman or docker, or straight from the local store."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading import imaging
from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.images.media import Image
    from lading.images.running import RunOptions
    from lading.service.once import Outcome


_SERVER_BYTES = 256 << 20
"""Room for the server itself, which Cortex's ``compute.mem`` does not count."""


def names_image(project: str | None, directory: str | None) -> bool:
    """Whether PROJECT is the name of an image: no such folder or file is there, and the store has it or it names a registry."""
    if project is None:
        return False
    place = Path(directory or ".")
    if (place / project).exists() or (place / project.partition(":")[0]).is_file():
        return False
    from lading.images.reference import names_registry
    from lading.images.stored import is_stored

    return is_stored(project) or names_registry(project)


def serve(arguments: argparse.Namespace, output: Output, port: int) -> int:
    """``lading serve IMAGE``."""
    from lading.images.running import serve_image

    image = imaging.runnable(arguments.project, output.reporter)
    if arguments.playground or arguments.playground_port is not None:
        output.say("The page to try it on is /docs, on the same port.")
    return serve_image(image, _options(image, arguments, port, _served_as(arguments)), output.reporter)


def predict(arguments: argparse.Namespace, output: Output) -> tuple[Outcome, Any]:
    """``lading predict IMAGE``: what came of it, and the API as the image describes it. The inputs are checked before anything is started."""
    from lading.images.running import predict_with_image

    image = imaging.runnable(arguments.project, output.reporter)
    api = _api(image, arguments.api)
    body = _payload(arguments, api)
    cortex = api["worker"]["style"] == "cortex"
    path = (api.get("endpoint") or "/") if cortex else "/predictions"
    # Its URLs may name any address, as in `once`.
    options = _options(image, arguments, 0, {"LADING_DOWNLOAD_ALLOW": "all", **_limits(arguments)})
    status, answer = predict_with_image(image, path, body, options, output.reporter)
    return outcome_of(status, answer, cortex=cortex), api


def _options(image: Image, arguments: argparse.Namespace, port: int, variables: Mapping[str, str]) -> RunOptions:
    from lading.cli.serve import asked_variables
    from lading.environments.host import find_driver
    from lading.images.running import RunOptions
    from lading.service.guard import GUARD

    gpus = b"NVIDIA_VISIBLE_DEVICES" in image.config and find_driver() is not None
    host = getattr(arguments, "host", None) or "127.0.0.1"
    limits = {} if getattr(arguments, "no_limits", False) else container_limits(image.labels)
    env = {**variables, **asked_variables(arguments)}
    return RunOptions(host=host, port=port, env=env, gpus=gpus, watch=GUARD.container, **limits)


def container_limits(labels: Mapping[str, str]) -> dict[str, Any]:
    """What a container may use: what its APIs' ``compute`` and ``shm_size`` say, taken together; no limit where one of them has none."""
    try:
        service = json.loads(labels.get("run.lading.service", "{}"))
        computes = [api["cluster"]["compute"] for api in (*service.get("apis", ()), *service.get("job_apis", ()))]
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
    limits: dict[str, Any] = {}
    if computes and all("cpu" in one["written"] and one["cpu"] for one in computes):
        limits["cpus"] = min(sum(one["cpu"] for one in computes), os.cpu_count() or 1)  # docker takes no more than there are
    if computes and all("mem" in one["written"] and one["memory"] for one in computes):
        limits["memory"] = sum(one["memory"] for one in computes) + _SERVER_BYTES
    shared = sum(one["shared_memory"] or 0 for one in computes)
    return {**limits, "shared_memory": shared} if shared else limits


def _served_as(arguments: argparse.Namespace) -> dict[str, str]:
    """The options of ``serve`` as the variables of a container; see `lading.service.variables.with_options`."""
    given = {
        "LADING_WORKERS": arguments.workers,
        "LADING_THREADS": arguments.threads,
        "LADING_MAX_QUEUE": arguments.max_queue,
        "LADING_MAX_BODY": arguments.max_body,
        "LADING_MAX_HELD": arguments.max_held,
        "LADING_UPLOAD_URL": arguments.upload_url,
        "LADING_DOWNLOAD_ALLOW": arguments.allow_downloads,
        "LADING_AWAIT_EXPLICIT_SHUTDOWN": 1 if arguments.await_explicit_shutdown else None,
    }
    return {**{name: str(value) for name, value in given.items() if value is not None}, **_limits(arguments)}


def _limits(arguments: argparse.Namespace) -> dict[str, str]:
    given = {"COG_SETUP_TIMEOUT": arguments.setup_timeout, "LADING_TIMEOUT": arguments.timeout}
    return {name: f"{seconds:g}" for name, seconds in given.items() if seconds is not None}


def _api(image: Image, name: str | None) -> Any:
    try:
        apis = json.loads(image.labels["run.lading.service"])["apis"]
    except (KeyError, ValueError) as error:
        raise LadingError(
            Problem(
                rule="image-not-lading",
                what="The image does not say what it serves.",
                why="`lading predict` runs images that `lading build` made.",
                instead="Use `lading serve IMAGE`, and send the prediction over HTTP.",
            )
        ) from error
    chosen = [api for api in apis if name in (None, api["name"])]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(str(api["name"]) for api in apis)
    raise LadingError(
        Problem(rule="usage", what=f"The image has the APIs {names}.", origin=Origin("--api"), instead="Name one with --api.")
    )


def _payload(arguments: argparse.Namespace, api: Any) -> bytes:
    from lading.cli.cog_options import context_of
    from lading.cli.predict import content_of, json_input
    from lading.schema import arguments as schema

    signature = api["worker"]["signature"]
    if isinstance(arguments.json, str):
        given = json_input(arguments.json)
        if signature:
            schema.check(signature, given)
    elif signature:
        given = schema.convert(signature, arguments.input, content_of)
    else:
        given = schema.convert_payload(arguments.input, content_of)
    context = context_of(arguments)
    record = given if api["worker"]["style"] == "cortex" else {"input": given, **({"context": context} if context else {})}
    return bytes(record) if isinstance(record, bytes | bytearray) else json.dumps(record).encode()


def outcome_of(status: int, answer: bytes, *, cortex: bool) -> Outcome:
    """The answer of a container's server as one record, as a prediction without a container gives it.

    One that is no record of a prediction is that of a server that failed: its text is the error.
    """
    from lading.service.calls import Result, Status
    from lading.service.once import Outcome

    if cortex:
        return Outcome(Result(id="", status=Status.SUCCEEDED, output=answer, http_status=status), cortex=True)
    try:
        record = json.loads(answer)
        if status == 422:
            return Outcome(Result(id="", status=Status.INVALID, detail=json.dumps(record["detail"]).encode()))
        state = Status(record["status"])
    except (ValueError, LookupError, TypeError):
        text = answer.decode("utf-8", "replace").strip()
        return Outcome(Result(id="", status=Status.FAILED, error=text or f"the server answered {status} without a word"))
    metrics = record.get("metrics") or {}
    result = Result(
        id=record.get("id") or "",
        status=state,
        output=json.dumps(record.get("output")).encode(),
        error=record.get("error"),
        logs=record.get("logs") or "",
        metrics=metrics,
        predict_time=metrics.get("predict_time"),
    )
    return Outcome(result)
