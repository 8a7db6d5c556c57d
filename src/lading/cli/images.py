"""Images where ``serve`` and ``predict`` take a project: run by podman or docker, or straight from the local store."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading import imaging
from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

if TYPE_CHECKING:
    from lading.images.media import Image
    from lading.images.running import RunOptions


def names_image(project: str | None, directory: str | None) -> bool:
    """Whether PROJECT is the name of an image: no such folder or file is there, and the store has it or it names a registry."""
    if project is None:
        return False
    place = Path(directory or ".")
    if (place / project).exists() or (place / project.partition(":")[0]).is_file():
        return False
    from lading.images.stored import is_stored

    first, slash, _ = project.partition("/")
    return is_stored(project) or bool(slash and ("." in first or ":" in first or first == "localhost"))


def serve(arguments: argparse.Namespace, output: Output, port: int) -> int:
    """``lading serve IMAGE``."""
    from lading.images.running import serve_image

    image = imaging.runnable(arguments.project, output.reporter)
    return serve_image(image, _options(image, arguments, port), output.reporter)


def predict(arguments: argparse.Namespace, output: Output) -> int:
    """``lading predict IMAGE``: the inputs are checked before anything is started."""
    from lading.images.running import predict_with_image

    image = imaging.runnable(arguments.project, output.reporter)
    api = _api(image, arguments.api)
    body = _payload(arguments, api)
    cortex = api["worker"]["style"] == "cortex"
    path = (api.get("endpoint") or "/") if cortex else "/predictions"
    status, answer = predict_with_image(image, path, body, _options(image, arguments, 0), output.reporter)
    return _show(status, answer, arguments, output, cortex=cortex)


def _options(image: Image, arguments: argparse.Namespace, port: int) -> RunOptions:
    from lading.cli.serve import asked_variables
    from lading.environments.host import find_driver
    from lading.images.running import RunOptions

    gpus = b"NVIDIA_VISIBLE_DEVICES" in image.config and find_driver() is not None
    host = getattr(arguments, "host", None) or "127.0.0.1"
    return RunOptions(host=host, port=port, env=asked_variables(arguments), gpus=gpus)


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


def _show(status: int, answer: bytes, arguments: argparse.Namespace, output: Output, *, cortex: bool) -> int:
    try:
        record: Any = json.loads(answer)
    except ValueError:
        record = answer.decode("utf-8", "replace")
    failed = status >= 400 or (not cortex and isinstance(record, dict) and record.get("status") == "failed")
    if output.as_json or arguments.json is True:
        output.json(record)
    elif failed:
        reason = record.get("error") or record.get("detail") if isinstance(record, dict) else record
        raise LadingError(
            Problem(rule="prediction-failed", what=f"The prediction failed: {reason}", why="The model raised it.", code=ExitCode.MODEL)
        )
    else:
        value = record.get("output") if not cortex and isinstance(record, dict) else record
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        _write(arguments.output, text, output)
    return int(ExitCode.MODEL) if failed else 0


def _write(path: str | None, text: str, output: Output) -> None:
    if path is None:
        output.data(text)
        return
    Path(path).write_text(text + os.linesep, encoding="utf-8")
    output.say(f"Written to {path}.")
