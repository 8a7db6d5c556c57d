"""``lading serve --reload``: the project read anew while it is served.

Where packages may have changed, a ``lading install`` of its own does the work: it is told apart from the server in every way, and ends
when the server does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

from lading import pipeline
from lading.environments.claims import hold
from lading.formats.ignore_files import read_cortexignore
from lading.formats.known import lookup
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.service import ServedApi, ServiceSpec
from lading.service.reload import Reading

_SOURCES = (".py", ".txt", ".in", ".toml", ".yaml", ".yml", ".sh", ".cfg", ".proto", "/.env")


class ProjectSource:
    """See `lading.service.reload.Source`. ``describe`` makes the service of a project whose environments are there."""

    def __init__(self, options: pipeline.Options, arguments: argparse.Namespace, describe: Callable[[pipeline.Ready], ServiceSpec]) -> None:
        self._options, self._arguments, self._describe = options, arguments, describe
        self._held, self._places = ExitStack(), set[str]()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def read(self) -> Reading:
        """See `lading.service.reload.Source`."""
        ready = pipeline.unchanged(self._options)
        if ready is None:
            self._install()
            ready = pipeline.unchanged(self._options) or self._as_installed()
        self._hold(ready)
        return Reading(
            spec=watched(self._describe(ready)),
            files=pipeline.used_files(ready),
            deciding=pipeline.deciding_files(ready, self._options),
            locks=frozenset(str(ready.root / variant.lock) for variant in ready.variants),
            counts=_counts,
            ignored=self._ignored(ready),
        )

    def _hold(self, ready: pipeline.Ready) -> None:
        """Keep every environment that something was served in: old workers may still work there."""
        for environment in ready.environments.values():
            if environment.path not in self._places:
                self._places.add(environment.path)
                self._held.enter_context(hold(environment))

    @staticmethod
    def _ignored(ready: pipeline.Ready) -> Callable[[str], bool]:
        """Whether an absolute path is none of the project, as its ignore files say."""
        rules, above = read_cortexignore(ready.files), f"{ready.root}/"
        return lambda path: path.startswith(above) and rules(path.removeprefix(above))

    def stop(self) -> None:
        """See `lading.service.reload.Source`."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def _install(self) -> None:
        """Make sure of the environments: in silence while the lock holds, else with everything that there is to tell."""
        data, status = self._run("-q", "--locked") if not (self._arguments.locked or self._arguments.frozen) else self._run()
        if status == ExitCode.LOCK and not self._arguments.locked:
            data, status = self._run()
        if status:
            raise LadingError(*_problems(data, status))

    def _run(self, *further: str) -> tuple[bytes, int]:
        command = [*self._command(), *further]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._talk(further)) as process:
            self._process = process
            if self._stopped:
                process.terminate()
            data, _ = process.communicate()
        self._process = None
        return data, process.returncode

    def _talk(self, further: tuple[str, ...]) -> int | None:
        """Where it talks: nowhere, if there is nothing to tell but problems, which are data here."""
        quiet = "-q" in further or self._arguments.quiet or os.environ.get("LOG_FORMAT", "").lower() == "json"
        return subprocess.DEVNULL if quiet else None

    def _command(self) -> list[str]:
        options, given = self._options, self._arguments
        words = ["-C", str(options.directory), "--accelerator", options.accelerator, "--progress", given.progress]
        for flag, value in (("-f", options.file), ("--python", options.python), ("--source", options.source)):
            words += [flag, value] if value else []
        for secret in given.secret:
            words += ["--secret", secret]
        flags = ("locked", "frozen", "offline", "strict", "no_color")
        words += [f"--{flag.replace('_', '-')}" for flag in flags if getattr(given, flag)]
        return [sys.executable, "-P", "-m", "lading", "install", "--json", *words]

    def _as_installed(self) -> pipeline.Ready:
        """The project where no record of it is kept (``--frozen``): everything is there, nothing is resolved or installed."""
        project = pipeline.read(self._options)
        locked = pipeline.lock(pipeline.plan(project, self._options), project, self._options)
        return pipeline.remember(self._options, project, pipeline.install(locked, project, self._options))


def _counts(path: str) -> bool:
    """Whether a file that appears may decide about the project: a module, or a file that declares something."""
    return path.endswith(_SOURCES) or lookup(path) is not None


def watched(spec: ServiceSpec) -> ServiceSpec:
    """The service with workers that tell which files they loaded, and load the sources as they are now."""

    def told(api: ServedApi) -> ServedApi:
        return replace(api, worker=replace(api.worker, watched=True))

    return spec.each(told)


def _problems(data: bytes, status: int) -> list[Problem]:
    try:
        records: list[dict[str, Any]] = json.loads(data)["problems"]
        return [_problem(record) for record in records]
    except (ValueError, LookupError, TypeError):
        return [Problem(rule="install-failed", what=f"`lading install` ended with status {status}.", instead="Run it to see why.")]


def _problem(record: dict[str, Any]) -> Problem:
    path, _, line = str(record.get("origin", "")).rpartition(":")
    origin = Origin(path, int(line)) if path and line.isdigit() else Origin(record["origin"]) if record.get("origin") else None
    return Problem(
        rule=record["rule"],
        what=record["what"],
        origin=origin,
        why=record.get("why"),
        instead=record.get("instead"),
        code=ExitCode(record["exit_code"]),
        detail=record.get("detail"),
    )
