"""The server inside an image: ``python -m lading.service.container``. Everything was decided when the image was built.

Reads the service from ``LADING_SERVICE`` (a JSON file), serves all of it or what ``LADING_APIS`` names, listens on ``PORT`` (5000), and as process 1 of a container also reaps what others
leave behind. Nothing is resolved, installed or written.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lading.jobs.opening import VARIABLE, is_database
from lading.model.cluster import Limits
from lading.model.events import Event, Phase
from lading.model.problems import LadingError, Problem
from lading.model.service import ServedApi, ServiceSpec
from lading.service.variables import with_cog_variables, with_options

DEFAULT_PORT = 5000
SERVICE = "LADING_SERVICE"
APIS = "LADING_APIS"
"""Which of the image's APIs a container serves."""


def as_json(spec: ServiceSpec) -> dict[str, Any]:
    """A service as JSON data, for `from_json`."""
    import msgspec  # noqa: PLC0415 -- not in the first process

    record: dict[str, Any] = msgspec.to_builtins(spec)
    return record


def from_json(content: bytes) -> ServiceSpec:
    """The inverse of `as_json`, from JSON text."""
    import msgspec  # noqa: PLC0415 -- not in the first process

    return msgspec.json.decode(content, type=ServiceSpec)


def main() -> int:
    """Serve until the container is stopped; returns the exit status."""
    if os.getpid() == 1:
        status = _as_init()
        if status is not None:
            return status
    try:
        spec = _with_environment(from_json(Path(os.environ[SERVICE]).read_bytes()), os.environ)
        from lading.service.server import serve  # noqa: PLC0415 -- not in the first process

        _tell_wanted(spec.wanted, os.environ)
        if "LADING_HOME_FILES" in os.environ:
            from lading.service.home import furnish  # noqa: PLC0415 -- for the few images that have such files

            furnish(os.environ)
        return serve(spec, _say)
    except LadingError as error:
        for problem in error.problems:
            _line(f"error: {problem.what} {problem.instead or ''}".rstrip())
        return int(error.exit_code)


def _tell_wanted(names: Sequence[str], environ: Mapping[str, str]) -> None:
    missing = [name for name in names if name not in environ]
    if missing:
        _line(
            f"warning: {', '.join(missing)} of the project's .env {'is' if len(missing) == 1 else 'are'} not set; start with --env-file .env"
        )


def _with_environment(spec: ServiceSpec, environ: Mapping[str, str]) -> ServiceSpec:
    """Where to listen, and variables of the container, which win over those that the project's configuration sets."""
    text = environ.get("PORT") or str(DEFAULT_PORT)
    port = int(text) if text.isascii() and text.isdigit() and int(text) < 65536 else DEFAULT_PORT
    spec = with_options(with_cog_variables(spec.each(lambda api: _inside(api, environ)), environ), environ)
    spec = _chosen(spec, environ.get(APIS) or "")
    named = environ.get(VARIABLE) or ""
    if named and not is_database(named):
        spec = replace(spec, jobs_folder=named)
    return replace(spec, host=environ.get("LADING_HOST") or "0.0.0.0", port=port)  # noqa: S104 -- a container's own network


def _chosen(spec: ServiceSpec, names: str) -> ServiceSpec:
    """The service with these APIs and TrafficSplitters alone, divided by commas; all of it where none is named.

    Raises:
        LadingError: if one is not there.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        return spec
    strange = [name for name in wanted if name not in spec.names]
    if strange:
        what = f"{APIS} names {', '.join(strange)}, and the image serves {', '.join(spec.names)}."
        raise LadingError(Problem(rule="api-unknown", what=what, instead=f"Correct {APIS}."))
    return replace(spec.only(lambda name: name in wanted), training=spec.training if tuple(wanted) == spec.names else None)


def _inside(api: ServedApi, environ: Mapping[str, str]) -> ServedApi:
    """An API as it runs in a container, whose own limits hold instead of the workers'."""
    return replace(api, worker=replace(api.worker, env=_unset(api.worker.env, environ), limits=Limits()))


def _unset(env: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    # PATH is what activating an environment makes of it, and no choice of whoever starts the container.
    return {name: value for name, value in env.items() if name == "PATH" or name not in environ}


def _say(event: Event) -> None:
    if event.message and (event.phase is not Phase.STARTED):
        _line(event.message if event.phase is Phase.OUTPUT else f"{event.step}: {event.message}")


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _as_init() -> int | None:
    """Process 1 starts the server as its child, passes signals on and reaps; None in the child."""
    child = os.fork()
    if child == 0:
        return None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        try:
            ended, status = os.wait()
        except InterruptedError:  # pragma: no cover -- retried by Python itself, mostly
            continue
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
