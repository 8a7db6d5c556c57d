"""Running one verb: parse, call, and turn every way of failing into a message and an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any, Protocol, cast

from lading.cli.options import WITH_VALUE, make_parser
from lading.cli.output import STDOUT, Output
from lading.cli.verbs import ALIASES, VERBS
from lading.model.problems import ExitCode, LadingError, Problem


class Verb(Protocol):
    """What a module under ``lading.cli`` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Put the verb's own options on its parser."""

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        """Do it; returns the exit status."""


def run(words: list[str]) -> int:
    """Run the verb that ``words`` names."""
    try:
        verb, rest = split_verb(words)
        module = cast("Verb", importlib.import_module(f"lading.cli.{VERBS[verb][0]}"))
        parser = make_parser(verb, VERBS[verb][1])
        module.add_arguments(parser)
        arguments = parser.parse_args(rest)
    except LadingError as error:
        Output(as_json=_wants_json(words)).problems(error.problems)
        return int(error.exit_code)
    output = _output(arguments)
    return _guarded(module, arguments, output)


def _guarded(module: Verb, arguments: argparse.Namespace, output: Output) -> int:
    try:
        return module.run(arguments, output)
    except LadingError as error:
        output.problems(error.problems)
        return int(error.exit_code)
    except KeyboardInterrupt:
        output.stop()
        print("interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename == STDOUT:
            raise  # told by `lading.__main__`, for the shortest ways through it too
        output.problems((_system_problem(error),))
        return int(ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 -- the last resort: a defect of ours is told as one, with what it takes to find it
        output.problems((_defect(error, verbose=output.verbose > 0),))
        return int(ExitCode.USAGE)
    finally:
        output.pause()


def _system_problem(error: OSError) -> Problem:
    place = error.filename if isinstance(error.filename, str) else None
    return Problem(
        rule="system",
        what=f"The system refused: {error.strerror or error}{f' ({place})' if place else ''}.",
        why="Lading undid what it had begun; the project and the store are as they were.",
        instead="Free some space, or correct the permissions, and try again.",
    )


def _defect(error: Exception, *, verbose: bool) -> Problem:
    import traceback

    from lading import __version__
    from lading.model.secrets import redact_urls

    place = traceback.extract_tb(error.__traceback__)[-1]
    return Problem(
        rule="defect",
        what=f"Lading {__version__} has a defect: {type(error).__name__} in {place.name} ({Path(place.filename).name}:{place.lineno}).",
        why="Nothing in your project should lead here.",
        instead="Please report it, with the output of the same command with -v."
        if not verbose
        else "Please report it, with the text above.",
        detail=redact_urls("".join(traceback.format_exception(error))) if verbose else None,
    )


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb and everything else: options may also stand before the verb.

    Raises:
        LadingError: if there is no verb, or one that does not exist.
    """
    before: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        before.append(rest.pop(0))
        if before[-1] in WITH_VALUE and rest:
            before.append(rest.pop(0))
    if not rest:
        raise LadingError(Problem(rule="usage", what="No verb was given.", instead="See `lading --help`."))
    if rest[0] == "help" and len(rest) > 1:
        rest = [rest[1], "--help"]
    name = ALIASES.get(rest[0], rest[0])
    if name not in VERBS:
        raise LadingError(_unknown_verb(rest[0]))
    return name, before + rest[1:]


def _unknown_verb(name: str) -> Problem:
    import difflib

    near = difflib.get_close_matches(name, [*VERBS, *ALIASES], n=1)
    hint = f"Did you mean `lading {near[0]}`?" if near else f"The verbs are {', '.join(VERBS)}."
    return Problem(rule="usage", what=f'There is no verb "{name}".', instead=hint)


def _wants_json(words: list[str]) -> bool:
    """Whether a wrong command line asked for JSON; after ``predict``'s ``--json`` there may be an input instead."""
    if "--json" not in words:
        return False
    following = words[words.index("--json") + 1 :][:1]
    return not following or (following[0] != "-" and following[0][:1] not in tuple('{["@'))


def _output(arguments: argparse.Namespace) -> Output:
    wants: Any = getattr(arguments, "json", False)
    return Output(
        as_json=wants is True,
        quiet=arguments.quiet,
        verbose=arguments.verbose,
        no_color=arguments.no_color,
        progress=arguments.progress,
    )
