"""``lading weights import``, ``pull``, ``status``: the weights that cog.yaml names."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from lading import pipeline
from lading.cli.env import size
from lading.cli.options import add_json, pipeline_options
from lading.cli.output import Output
from lading.explain.text import count
from lading.model.problems import ExitCode, LadingError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lading.model.project import ProjectConfig
    from lading.model.weights import LockedWeight
    from lading.weights.locking import Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument(
        "action", choices=("import", "pull", "status"), help="lock what the sources hold now, fetch what the lock names, or compare"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="import, pull: these weights alone")
    parser.add_argument("--dry-run", action="store_true", help="import: only show what would be locked")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments)
    weights = of_project(options, _config(options), output)
    if not weights.declared:
        raise LadingError(
            Problem(
                rule="weights-unknown",
                what="The project names no weights.",
                instead="Write weights: into cog.yaml; see `lading weights --help`.",
            )
        )
    return {"import": _import, "pull": _pull, "status": _status}[arguments.action](weights, arguments, output)


def _config(options: pipeline.Options) -> ProjectConfig:
    from lading.environments.folder import FolderFiles
    from lading.planner.find import find_config

    return find_config(FolderFiles(options.directory), options.file, options.environ)


def of_project(options: pipeline.Options, config: ProjectConfig, output: Output) -> Weights:
    """The weights of a project."""
    from lading.weights.locking import weights_of

    return weights_of(options.directory, config, options.environ, output.reporter, offline=options.offline)


def put_in_place(options: pipeline.Options, config: ProjectConfig, output: Output, *, here: bool = True) -> None:
    """Before something of the project runs, on this machine or elsewhere: its weights are what the lock says, and where it looks for them."""
    if not config.weights:
        return
    from lading.weights.placing import put_settled

    placed, decisions = put_settled(of_project(options, config, output), locked=options.locked, frozen=options.frozen, here=here)
    output.decisions(decisions)
    if placed:
        output.say(f"Put {count(len(placed), 'file')} of weights into the project's folder.")


def _import(weights: Weights, arguments: argparse.Namespace, output: Output) -> int:
    from lading.weights.locking import import_weights

    locked = import_weights(weights, arguments.names, write=not arguments.dry_run)
    _show(locked, output)
    output.say(f"{'Would lock' if arguments.dry_run else 'Locked'} {count(len(locked), 'set')} of weights in {weights.path.name}.")
    return 0


def _pull(weights: Weights, arguments: argparse.Namespace, output: Output) -> int:
    from lading.weights.locking import files, settle

    locked, _ = settle(weights, locked=True)
    wanted = [one for one in locked if not arguments.names or one.name in arguments.names]
    unknown = set(arguments.names) - {one.name for one in locked}
    if unknown:
        raise LadingError(
            Problem(rule="weights-unknown", what=f"The lock has no weights {', '.join(sorted(unknown))}.", instead="Name others.")
        )
    files(weights, wanted)
    _show(wanted, output)
    return 0


def _show(locked: Sequence[LockedWeight], output: Output) -> None:
    if output.as_json:
        output.json({"weights": [{**asdict(one), "size": one.size, "set_digest": one.set_digest} for one in locked]})
        return
    _table([(one.name, size(one.size), count(len(one.files), "file"), one.target, one.set_digest[:19]) for one in locked], output)


def _table(rows: Sequence[tuple[str, ...]], output: Output) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        output.data("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _status(weights: Weights, arguments: argparse.Namespace, output: Output) -> int:
    from lading.weights.standing import status

    del arguments
    found = status(weights)
    if output.as_json:
        output.json({"weights": [asdict(one) for one in found]})
    else:
        shown = [
            (one.name, one.state, size(one.size), count(one.files, "file"), one.target, one.detail and f"({one.detail})") for one in found
        ]
        _table(shown, output)
    return 0 if all(one.state in ("ready", "incomplete") for one in found) else int(ExitCode.LOCK)
