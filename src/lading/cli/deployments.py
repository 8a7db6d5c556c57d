"""What the verbs about deployments share: which one is meant, how it is shown."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.deploy.engine import Engine, Option, Place, Status
    from lading.deploy.records import Known


def add_place(parser: argparse.ArgumentParser, *, required: bool = False, running: bool = False) -> None:
    """``--to``, ``--name`` and the options that say where. ``running``: without them, the verb means a running server."""
    from lading.deploy.engine import ENGINES

    engines = ", ".join(f"{name} ({text})" for name, text in ENGINES.items())
    usual = "" if required else "; default: a running server" if running else "; default: what was deployed last from this folder"
    parser.add_argument("--to", nargs="+", metavar=("ENGINE", "ADDRESS"), help=f"where: {engines}, and its address{usual}")
    parser.add_argument("--name", metavar="NAME", help="the deployment's name (default: the folder's)")
    _add_options(parser, of_place=True)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The options of every engine that say how."""
    _add_options(parser, of_place=False)


def _add_options(parser: argparse.ArgumentParser, *, of_place: bool) -> None:
    from lading.deploy.engine import ENGINES, engine_options

    for engine in ENGINES:
        options = [one for one in engine_options(engine).OPTIONS if one.of_place is of_place]
        group = parser.add_argument_group(f"with --to {engine}") if options else parser
        for one in options:
            group.add_argument(one.name, dest=f"{engine}.{one.key}", help=one.help, **_how(one))


def _how(option: Option) -> dict[str, Any]:
    if option.flag:
        return {"action": "store_true", "default": None}
    how: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
    return {**how, "action": "append"} if option.repeated else how


def options_of(arguments: argparse.Namespace, engine: str, *, of_place: bool) -> dict[str, Any]:
    """The values that were given for an engine's options, by their keys.

    Raises:
        LadingError: if an option of another engine was given.
    """
    from lading.deploy.engine import ENGINES, engine_options

    found = {}
    for other in ENGINES:
        for one in engine_options(other).OPTIONS:
            value = getattr(arguments, f"{other}.{one.key}", None)
            if value is None or one.of_place is not of_place:
                continue
            if other != engine:
                what = f"{one.name} is an option of --to {other}, and this is {engine}."
                raise LadingError(Problem(rule="usage", what=what, origin=Origin(one.name), instead=f"Leave {one.name} out."))
            found[one.key] = str(Path(value).expanduser().resolve()) if one.path else value
    return found


def names_deployment(arguments: argparse.Namespace) -> bool:
    """Whether a verb that can mean a running server means a deployment.

    Raises:
        LadingError: if it means neither.
    """
    if arguments.to or arguments.name:
        return True
    if arguments.api is None:
        instead = "Name an API of the running server, or a deployment with --to ENGINE or --name NAME."
        raise LadingError(Problem(rule="usage", what="The following arguments are required: API.", instead=instead))
    return False


def place_of(arguments: argparse.Namespace) -> Place | None:
    """The place that ``--to`` says; None without it.

    Raises:
        LadingError: if it says no engine, or too much.
    """
    from lading.deploy.engine import Place, engine_options

    if not arguments.to:
        return None
    engine, *rest = arguments.to
    engine_options(engine)  # which refuses what is none
    if len(rest) > 1:
        what = f"--to takes an engine and an address, and this is more: {' '.join(rest[1:])}."
        raise LadingError(Problem(rule="usage", what=what, origin=Origin("--to"), instead="Write PROJECT before --to."))
    address = rest[0] if rest else None
    return Place(engine=engine, address=address, options=options_of(arguments, engine, of_place=True))


def name_of(arguments: argparse.Namespace, folder: Path) -> str:
    """The deployment's name: ``--name``, else one made of the folder's.

    Raises:
        LadingError: if ``--name`` gives none that every engine takes.
    """
    from lading.deploy.records import check_name, name_for

    return name_for(folder) if arguments.name is None else check_name(arguments.name)


def meant(arguments: argparse.Namespace) -> tuple[Engine, Known]:
    """The deployment that the command line means, with its engine.

    Raises:
        LadingError: if none is known and none is named.
    """
    from lading.deploy.engine import engine_module
    from lading.deploy.records import Known, find, nothing_deployed

    folder = Path(arguments.directory or ".")
    place = place_of(arguments)
    if place is not None:
        place = engine_module(place.engine).connect(place, os.environ).place
    known = find(folder, arguments.name, place, os.environ)
    if known is None:
        if place is None:
            raise nothing_deployed(folder)
        known = Known(name=name_of(arguments, folder), place=place)
    return engine_module(known.place.engine).connect(known.place, os.environ), known


def show(status: Status, output: Output) -> None:
    """A deployment for people, or as JSON."""
    if output.as_json:
        output.json(status.as_json())
        return
    output.data(f"{status.name} on {status.place}: {status.state}")
    urls = {one.api: one for one in status.endpoints}
    for api in status.apis:
        replicas = f"{api.ready}/{api.wanted} ready" if api.wanted else "with each job"
        url = urls.pop(api.name, None)
        where = f"  {url.url}" if url else ""
        output.data(f"  {api.name:24}  {api.state:9}  {replicas:12}{where}".rstrip())
        for text in api.messages:
            output.data(f"    {text}")
    for rest in urls.values():
        output.data(f"  {rest.api:24}  {'':9}  {'':12}  {rest.url}".rstrip())
    current = next((one for one in status.revisions if one.current), None)
    if current is not None:
        others = ", ".join(str(one.number) for one in status.revisions if not one.current)
        output.data(
            f"  revision {current.number} ({current.digest.removeprefix('sha256:')[:12]})" + (f"; before: {others}" if others else "")
        )
    if status.dashboard:
        output.data(f"  {status.dashboard}")
