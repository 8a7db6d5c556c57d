"""What was deployed from a folder, so that ``lading status`` in it needs no further words. A note of this machine, not the truth."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lading.deploy.engine import Place
from lading.environments.home import require_writable
from lading.model.files import content_hash
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

_FOLDER = "deployments"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A deployment that was made from a folder."""

    name: str
    place: Place


def name_for(folder: Path) -> str:
    """The name of a deployment of a folder that is given none: made of the folder's."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"model-{plain}")[:40].strip("-")


def check_name(name: str) -> str:
    """A name for a deployment, as it is.

    Raises:
        LadingError: if it is none that every engine takes.
    """
    if not _NAME.fullmatch(name):
        what = f'"{name}" is no name for a deployment.'
        why = "It becomes part of the names of the engine's own objects: a lower case letter, then letters, digits and dashes, 40 at most."
        raise LadingError(Problem(rule="deployment-name", what=what, origin=Origin("--name"), why=why, instead="Write --name my-model."))
    return name


def remember(folder: Path, known: Known, environ: Mapping[str, str] | None = None) -> None:
    """Keep a deployment as the newest of its folder.

    Raises:
        LadingError: if the store cannot be written.
    """
    others = [one for one in remembered(folder, environ) if (one.name, one.place) != (known.name, known.place)]
    _write(folder, [known, *others], environ)


def forget(folder: Path, known: Known, environ: Mapping[str, str] | None = None) -> None:
    """Drop a deployment that was deleted.

    Raises:
        LadingError: if the store cannot be written.
    """
    _write(folder, [one for one in remembered(folder, environ) if (one.name, one.place) != (known.name, known.place)], environ)


def remembered(folder: Path, environ: Mapping[str, str] | None = None) -> list[Known]:
    """The deployments of a folder, the newest first."""
    try:
        found = json.loads(_path(folder, environ).read_text(encoding="utf-8"))
        return [Known(name=one["name"], place=Place(**one["place"])) for one in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def find(folder: Path, name: str | None, place: Place | None, environ: Mapping[str, str]) -> Known | None:
    """The newest deployment of a folder that fits what is given; None where none does."""
    for one in remembered(folder, environ):
        if name in (None, one.name) and (place is None or _fits(one.place, place)):
            return one
    return None


def _fits(known: Place, wanted: Place) -> bool:
    same = known.engine == wanted.engine and wanted.address in (None, known.address)
    return same and all(known.options.get(key) == value for key, value in wanted.options.items())


def nothing_deployed(folder: Path) -> LadingError:
    """The error to raise where no deployment is named and none is known."""
    return LadingError(
        Problem(
            rule="nothing-deployed",
            what=f"Nothing was deployed from {folder.resolve()} on this machine.",
            origin=Origin("--to"),
            instead="Deploy it with `lading deploy --to ENGINE`, or name the deployment: --to ENGINE [ADDRESS] --name NAME.",
            code=ExitCode.DEPLOY,
        )
    )


def _path(folder: Path, environ: Mapping[str, str] | None) -> Path:
    name = content_hash(str(folder.resolve()).encode())[:16]
    return Path(require_writable(environ)) / _FOLDER / f"{name}.json"


def _write(folder: Path, known: list[Known], environ: Mapping[str, str] | None) -> None:
    path = _path(folder, environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = [
        {"name": one.name, "place": {"engine": one.place.engine, "address": one.place.address, "options": dict(one.place.options)}}
        for one in known
    ]
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(record), encoding="utf-8")
    aside.replace(path)
