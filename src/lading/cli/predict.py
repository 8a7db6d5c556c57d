"""``lading predict``: one prediction, without a server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading import pipeline
from lading.cli.cog_options import add_gpus, add_token, context_of
from lading.cli.install import prepare
from lading.cli.options import add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.outputs import Pieces, is_joined, write_output
from lading.cli.serve import add_environment, add_timeouts, asked_variables, no_predictor
from lading.cli.weights import put_in_place
from lading.model.cortex import ApiKind
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.project import Api, Style

if TYPE_CHECKING:
    from lading.model.environment import Environment
    from lading.model.service import ServedApi
    from lading.service.once import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    parser.add_argument(
        "sample",
        nargs="?",
        metavar="SAMPLE",
        help="ask the running server's API of the name PROJECT, with this JSON file (- is standard input)",
    )
    parser.add_argument("--url", metavar="URL", help="with SAMPLE: the server's address (default: that of the project in this folder)")
    add_inputs(parser)
    parser.add_argument("-o", "--output", metavar="PATH", help="write the output to PATH")
    parser.add_argument("--api", metavar="NAME", help="the API to ask, when the project has several")
    add_timeouts(parser)
    add_environment(parser)
    add_gpus(parser)
    add_token(parser)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """``-i`` and ``--json``."""
    parser.add_argument(
        "-i", "--input", action="append", default=[], metavar="NAME=VALUE", help="an input; @path takes a file; repeat for a list"
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const=True,
        default=False,
        metavar="INPUT",
        help="alone: the whole answer as JSON; with a value: all inputs as JSON (text, @file, or - for standard input)",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    sort_out_json(arguments)
    if arguments.sample is not None:
        return _ask_server(arguments, output)
    from lading.cli import images

    if images.names_image(arguments.project, arguments.directory):
        given, described = images.predict(arguments, output)
        joined = bool(((described["worker"].get("signature") or {}).get("output") or {}).get("concatenate"))
        return _finish(given, described["worker"]["file"], arguments, output, joined=joined)
    options = pipeline_options(arguments, arguments.project)
    project = pipeline.read(options)
    api = _api(project, arguments.api)
    if api.cortex.kind is not ApiKind.REALTIME or api.cortex.grpc is not None:
        raise LadingError(_job_needed(api))
    payload = inputs_of(arguments, project, api)
    context = context_of(arguments)
    ready = prepare(options, output)
    put_in_place(options, ready.config, output)
    served = next(one for one in pipeline.describe_service(ready).apis if one.name == api.name)
    pieces = Pieces(served, output) if not output.as_json and arguments.output is None else None
    result = once(served, ready.environments[api.name], payload, arguments, output, pieces=pieces, context=context)
    shown = pieces is not None and pieces.end()
    return _finish(result, api.file, arguments, output, joined=is_joined(served), shown=shown)


def _finish(result: Outcome, file: str, arguments: argparse.Namespace, output: Output, *, joined: bool, shown: bool = False) -> int:
    """Give out what came of a prediction of the predictor in ``file``, unless its pieces were shown; returns the exit status."""
    if output.as_json:
        output.json(result.as_json())
    elif result.ok and not shown:
        write_output(result, arguments.output, output, joined=joined)
    if not result.ok and not output.as_json:
        raise LadingError(failed(result.error or "it failed", file))
    return 0 if result.ok else int(ExitCode.MODEL)


def _job_needed(api: Api) -> Problem:
    if api.cortex.grpc is not None:
        what = f"{api.name} is called by gRPC, and answers no prediction without a server."
        return Problem(
            rule="api-needs-server",
            what=what,
            origin=api.origin,
            instead=f"Run `lading serve`, then `lading predict {api.name} sample.json`.",
        )
    return Problem(
        rule="api-needs-server",
        what=f"{api.name} is a {api.cortex.kind}, and answers no single prediction.",
        origin=api.origin,
        instead=f"Run `lading serve`, then `lading batch submit {api.name} job.json`"
        if api.cortex.kind is not ApiKind.ASYNC
        else f"Run `lading serve`, then `lading predict {api.name} sample.json`.",
    )


def _ask_server(arguments: argparse.Namespace, output: Output) -> int:
    """``lading predict API sample.json``, as Cortex's command line had it."""
    from lading.cli.server import connect, read_input

    answer = connect(arguments).predict(arguments.project, json.loads(read_input(arguments.sample)))
    output.data(answer) if isinstance(answer, str) else output.json(answer)
    return 0


def once(
    served: ServedApi,
    environment: Environment,
    payload: Any,
    arguments: argparse.Namespace,
    output: Output,
    *,
    pieces: Pieces | None = None,
    context: Mapping[str, str] | None = None,
) -> Outcome:
    """Run one prediction or training in a worker of its own; ``pieces`` shows the output as it comes, the model sees ``context``.

    Its URLs may name any address: they are the user's own, not a stranger's.
    """
    from lading.environments.claims import hold
    from lading.service.once import predict_once
    from lading.service.variables import of_worker, setup_timeout

    served = pipeline.with_worker_variables(served, {"LADING_DOWNLOAD_ALLOW": "all", **asked_variables(arguments)})
    setup_seconds = arguments.setup_timeout or setup_timeout(of_worker(served.worker, os.environ))
    with hold(environment):
        return predict_once(
            served,
            payload,
            output.reporter,
            setup_timeout=setup_seconds,
            predict_timeout=arguments.timeout,
            on_chunk=pieces.show if pieces else None,
            context=context,
        )


def sort_out_json(arguments: argparse.Namespace) -> None:
    """``--json PROJECT`` means the flag and a project: a value counts as input only if it looks like JSON, ``@file`` or ``-``."""
    value = arguments.json
    if isinstance(value, str) and value != "-" and value[:1] not in tuple('{["@') and arguments.project is None:
        arguments.json, arguments.project = True, value


def _api(project: pipeline.Project, name: str | None) -> Api:
    apis = project.config.apis
    if not apis:
        raise LadingError(no_predictor(project.config.path))
    chosen = [api for api in apis if name in (None, api.name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(api.name for api in apis)
    what = f"There is no API {name}." if name else f"The project has {len(apis)} APIs."
    raise LadingError(Problem(rule="usage", what=what, origin=Origin("--api"), instead=f"Name one with --api: {names}."))


def inputs_of(arguments: argparse.Namespace, project: pipeline.Project, api: Api, *, training: bool = False) -> Any:
    """The inputs, converted and checked before anything is resolved, built or started.

    Raises:
        LadingError: with every input that does not fit.
    """
    from lading.schema import arguments as schema_arguments

    if isinstance(arguments.json, str):
        if arguments.input:
            raise LadingError(Problem(rule="usage", what="Inputs are given twice, by -i and by --json.", instead="Use one of them."))
        given = json_input(arguments.json)
        if api.style is Style.COG:
            schema_arguments.check(_signature(project, api, training=training), given)
        return given
    if api.style is Style.CORTEX:
        return schema_arguments.convert_payload(arguments.input, content_of)
    return schema_arguments.convert(_signature(project, api, training=training), arguments.input, content_of)


def _signature(project: pipeline.Project, api: Api, *, training: bool) -> dict[str, Any]:
    from lading.schema.static import PREDICT, TRAIN, read_signature

    methods = TRAIN if training else PREDICT
    return read_signature(project.files, api.file, api.object, python_path=api.python_path, methods=methods).as_json()


def content_of(path: str) -> bytes:
    """A file's content, for an input that is a file."""
    return Path(path).expanduser().read_bytes()


def json_input(text: str) -> Any:
    """All inputs as JSON: text, ``@file``, or ``-`` for standard input.

    Raises:
        LadingError: if it cannot be read, or is not JSON.
    """
    source, origin = text, Origin("--json")
    if text in ("-", "@-"):
        source, origin = sys.stdin.buffer.read().decode("utf-8", "replace"), Origin("standard input")
    elif text.startswith("@"):
        source, origin = _read_file(text[1:]).decode("utf-8", "replace"), Origin(text[1:])
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise LadingError(
            Problem(
                rule="input-invalid",
                what=f"The input is not JSON: {error}.",
                origin=Origin(origin.path, line),
                instead="Write --json '{\"name\": value}', or -i name=value.",
            )
        ) from error


def _read_file(path: str) -> bytes:
    try:
        return content_of(path)
    except OSError as error:
        raise LadingError(
            Problem(
                rule="input-file",
                what=f"The file {path} cannot be read: {error.strerror}.",
                origin=Origin("--json"),
                instead="Name an existing file after the @, relative to the current folder.",
            )
        ) from error


def failed(error: str, file: str, what: str = "prediction") -> Problem:
    """A prediction or training that the model failed."""
    return Problem(
        rule=f"{what}-failed",
        what=f"The {what} failed: {error}",
        origin=Origin(file),
        why="The model raised it; its traceback is above.",
        code=ExitCode.MODEL,
    )
