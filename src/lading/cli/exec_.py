"""``lading exec CMD``: a command inside the project's environment."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
from pathlib import Path

import lading_worker
from lading.cli.cog_options import add_gpus
from lading.cli.install import prepare
from lading.cli.options import pipeline_options
from lading.cli.output import Output
from lading.cli.serve import add_environment, asked_variables
from lading.model.problems import LadingError, Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("--api", metavar="NAME", help="the API whose environment to use, when they differ")
    add_environment(parser)
    add_gpus(parser)
    parser.add_argument(
        "-p", "--publish", action="append", metavar="PORT", help=argparse.SUPPRESS
    )  # Cog's: no container, all ports are there
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the command and its arguments")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise LadingError(Problem(rule="usage", what="No command was given.", instead="Write `lading exec python --version`."))
    ready = prepare(pipeline_options(arguments), output)
    # Without a predictor there is one environment all the same: that of the dependencies.
    environment = ready.environments.get(arguments.api) if arguments.api else ready.variants[0].environment
    if environment is None:
        names = ", ".join(ready.environments) or "none"
        raise LadingError(Problem(rule="usage", what=f"There is no API {arguments.api}.", instead=f"The APIs are {names}."))
    from lading.environments.claims import hold

    environ = _environ(environment.path, environment.python, asked_variables(arguments))
    with hold(environment):
        return _run(command, environ, str(ready.root))


def _environ(path: str, python: str, extra: dict[str, str]) -> dict[str, str]:
    """As an activated environment has it, with the names that predictors import: ``python predict.py`` finds ``cog``."""
    from lading.environments.activation import activation, is_prefix

    activated = activation(path, os.environ)
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", *activated.removed)}
    environ["PATH"] = str(Path(python).parent) + os.pathsep + environ.get("PATH", os.defpath)
    environ |= activated.variables if is_prefix(path) else {"VIRTUAL_ENV": path}
    shims = str(Path(lading_worker.__file__).with_name("shims"))
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [shims, activated.variables.get("PYTHONPATH")])), **extra}


def _run(command: list[str], environ: dict[str, str], cwd: str) -> int:
    """Run in the foreground: the command gets Ctrl-C itself, and its exit status is ours."""
    import shutil

    program = shutil.which(command[0], path=environ["PATH"])
    if program is None:
        raise LadingError(
            Problem(
                rule="command-not-found",
                what=f"There is no command {command[0]} in the environment or on PATH.",
                instead="Add the package that brings it to the requirements.",
            )
        )
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def passed_on(number: int, _frame: object) -> None:
        if number == signal.SIGINT:  # the terminal sends Ctrl-C to both
            return
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    # Handlers, unlike ignored signals, are not inherited: the command starts with the system's own.
    before = {number: signal.signal(number, passed_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        process = subprocess.Popen([program, *command[1:]], env=environ, cwd=cwd)
        for number in early:
            process.send_signal(number)
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status
