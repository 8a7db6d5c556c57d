"""``lading serve``: from the folder to predictions over HTTP."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lading import pipeline
from lading.cli.cog_options import add_gpus, named_by_cog, trained_by_cog
from lading.cli.install import prepare
from lading.cli.job_options import add_jobs, with_jobs
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.values import count_from, seconds, size, web
from lading.cli.weights import put_in_place
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.model.service import ServedApi, ServiceSpec

DEFAULT_PORT = 5000
PLAYGROUND_PORT = 9000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument("-p", "--port", type=int, help=f"the port (default: PORT, else {DEFAULT_PORT}); 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--workers", type=count_from(1), metavar="N", help="processes of each predictor (default: what it declares, else 1)"
    )
    parser.add_argument(
        "--threads", type=count_from(1), metavar="N", help="predictions at a time in each process (default: as declared, else 1)"
    )
    parser.add_argument(
        "--max-queue", type=count_from(1), metavar="N", help="predictions that may wait (default: 256); more are answered 503"
    )
    parser.add_argument("--max-body", type=size, metavar="SIZE", help="the largest body of a request: 500M, 2G (default: 100M)")
    parser.add_argument("--max-held", type=size, metavar="SIZE", help="all bodies that wait, together (default: 512M)")
    parser.add_argument("--upload-url", type=web, metavar="URL", help="put files of outputs to URL/NAME instead of into the answer")
    parser.add_argument(
        "--allow-downloads",
        metavar="HOSTS",
        help="what inputs by URL may name beside public addresses: networks, hosts, *.suffixes, or all, divided by commas",
    )
    parser.add_argument("--playground", action="store_true", help="also show the page to try it on, /docs, on a port of its own")
    parser.add_argument(
        "--playground-port", type=int, default=None, metavar="PORT", help=f"that port (default: {PLAYGROUND_PORT}); 0 takes a free one"
    )
    parser.add_argument("--await-explicit-shutdown", action="store_true", help="ignore SIGTERM; POST /shutdown ends the server")
    parser.add_argument("--no-limits", action="store_true", help="do not limit predictors to what `compute` of cortex.yaml says")
    parser.add_argument("--reload", action="store_true", help="serve a predictor anew when a file that it uses changes; the others stay")
    add_timeouts(parser)
    add_environment(parser)
    add_jobs(parser)
    add_gpus(parser)


def add_timeouts(parser: argparse.ArgumentParser) -> None:
    """Limits on the model's time."""
    parser.add_argument("--setup-timeout", type=seconds, metavar="SECONDS", help="give up when setup takes longer")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="stop a prediction that takes longer")


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Variables for the model's process."""
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="set a variable for the model")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    port = _port(arguments)
    from lading.cli import images

    if images.names_image(arguments.project, arguments.directory):
        if arguments.reload:
            raise LadingError(_no_files(arguments.project))
        return images.serve(arguments, output, port)
    options = named_by_cog(pipeline_options(arguments, arguments.project), os.environ)
    ready = prepare(options, output)
    put_in_place(options, ready.config, output)
    spec = _service(ready, arguments, port)
    from lading.environments.claims import hold
    from lading.service.server import serve

    _tell_limits(spec, output)

    with hold(*ready.environments.values()):
        if not arguments.reload:
            return serve(spec, output.reporter)
        from lading.cli.reloading import ProjectSource, watched

        with ProjectSource(options, arguments, lambda now: _service(now, arguments, port)) as source:
            return serve(watched(spec), output.reporter, source=source)


def _service(ready: pipeline.Ready, arguments: argparse.Namespace, port: int) -> ServiceSpec:
    """What to serve of a project whose environments are there.

    Raises:
        LadingError: if it names no predictor, or a signature cannot be read.
    """
    ready = replace(ready, config=trained_by_cog(ready.config, ready.files, os.environ))
    if not ready.config.apis:
        raise LadingError(no_predictor(ready.config.path))
    spec = pipeline.describe_service(
        ready,
        host=arguments.host,
        port=port,
        setup_timeout=arguments.setup_timeout,
        predict_timeout=arguments.timeout,
        max_queue=arguments.max_queue,
        max_body_bytes=arguments.max_body,
        max_held_bytes=_held(arguments),
        ignore_sigterm=arguments.await_explicit_shutdown,
        playground_port=_playground(arguments),
    )
    spec = _adjusted(pipeline.with_variables(spec, _allowed(arguments) | asked_variables(arguments)), arguments)
    return _within_limits(spec, arguments)


def _asks(spec: ServiceSpec) -> bool:
    return any(api.cluster.compute.asks for api in (*spec.apis, *spec.job_apis))


def _tell_limits(spec: ServiceSpec, output: Output) -> None:
    if _asks(spec):
        from lading.service.resources import told

        output.decisions(told(spec))


def _within_limits(spec: ServiceSpec, arguments: argparse.Namespace) -> ServiceSpec:
    if not _asks(spec):
        return spec
    from lading.environments.host import find_machine
    from lading.service.resources import share_gpus, without_limits

    if arguments.no_limits:
        return without_limits(spec)
    return share_gpus(spec, os.environ, lambda: len(find_machine().gpus))


def _no_files(image: str) -> Problem:
    return Problem(
        rule="usage",
        what=f"--reload follows the files of a project, and {image} is an image.",
        origin=Origin("--reload"),
        instead="Serve the project's folder, or leave --reload out.",
    )


def _held(arguments: argparse.Namespace) -> int | None:
    """Room for bodies: at least for the largest one."""
    if arguments.max_held is None and (arguments.max_body or 0) <= 512 << 20:
        return None
    return max(arguments.max_held or 0, arguments.max_body or 0)


def _allowed(arguments: argparse.Namespace) -> dict[str, str]:
    return {} if arguments.allow_downloads is None else {"LADING_DOWNLOAD_ALLOW": arguments.allow_downloads}


def _adjusted(spec: ServiceSpec, arguments: argparse.Namespace) -> ServiceSpec:
    """The service with what the command line and Cog's variables say of processes, threads and uploads."""
    from lading.service.variables import with_cog_variables, with_threads

    def adjusted(api: ServedApi) -> ServedApi:
        worker = with_threads(api.worker, arguments.threads) if arguments.threads else api.worker
        worker = replace(worker, upload_url=arguments.upload_url)
        processes = arguments.workers or api.processes
        return replace(api, worker=replace(worker, limits=api.cluster.compute.limits(processes)), processes=processes)

    training = spec.training and replace(spec.training, worker=replace(spec.training.worker, upload_url=arguments.upload_url))
    spec = with_cog_variables(spec, os.environ)
    return with_jobs(replace(spec, apis=tuple(map(adjusted, spec.apis)), training=training), arguments)


def no_predictor(path: str | None) -> Problem:
    """A configuration that names nothing to serve: enough for `lading exec`, and for nothing else."""
    return Problem(
        rule="no-predictor",
        what=f"{path or 'The project'} names no predictor.",
        origin=Origin(path) if path else None,
        instead="Write, for example: predict: predict.py:Predictor",
    )


def _port(arguments: argparse.Namespace) -> int:
    if arguments.port is not None:
        port, origin = int(arguments.port), "-p"
    else:
        text, origin = os.environ.get("PORT") or str(DEFAULT_PORT), "PORT"
        port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    return _checked(port, origin, DEFAULT_PORT)


def _playground(arguments: argparse.Namespace) -> int | None:
    """The port of Cog's playground, whose place our page takes; None where it is not asked for."""
    if arguments.playground_port is not None:
        return _checked(arguments.playground_port, "--playground-port", PLAYGROUND_PORT)
    return PLAYGROUND_PORT if arguments.playground else None


def _checked(port: int, origin: str, usual: int) -> int:
    if not 0 <= port <= 65535:
        option = "-p" if origin == "PORT" else origin
        what = "The port is not a number from 0 to 65535."
        raise LadingError(Problem(rule="usage", what=what, origin=Origin(origin), instead=f"Write {option} {usual}."))
    return port


def asked_variables(arguments: argparse.Namespace) -> dict[str, str]:
    """What ``--gpus`` and ``-e`` set for the model; ``-e`` wins.

    Raises:
        LadingError: as `variables`.
    """
    return {**(arguments.gpus or {}), **variables(arguments.env)}


def variables(pairs: list[str]) -> dict[str, str]:
    """``-e NAME=VALUE`` pairs; ``-e NAME`` takes the value from the current environment.

    Raises:
        LadingError: for a pair without a name, or a variable that is not set.
    """
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or (not equals and name not in os.environ):
            what = f"The variable {name} is not set here." if name else f'"{pair}" has no name.'
            raise LadingError(Problem(rule="usage", what=what, origin=Origin("-e"), instead="Write -e NAME=VALUE."))
        values[name] = value if equals else os.environ[name]
    return values
