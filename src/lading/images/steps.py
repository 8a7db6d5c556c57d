"""Commands of a project that must run in a container while its image is built: Cog's ``run:``, Cortex's ``dependencies.sh``.

One engine makes just that layer: buildah, else podman, else docker. Everything below and above is made without it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from lading.images.base import Base
from lading.images.build_container import ENGINES, STEP, build_container
from lading.images.engines import find_engine
from lading.images.folders import Found, digest_found, file_digest
from lading.images.layers import LayerWriter
from lading.images.layout import Layout
from lading.images.manifest import Settings, make_config, make_manifest
from lading.images.media import Image, Kind, Layer
from lading.images.recipe import Recipe
from lading.images.step_files import Rewriting, StepFiles
from lading.images.store import Store
from lading.model.events import Event, Phase, Reporter
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.secrets import redact_urls

_FORMAT = "steps, 6"
"""What becomes of the files that a step wrote; another one makes every such layer anew."""
_TEXT = 256 * 1024
"""Smaller files (bytes) that a script names are looked into for further names."""
_BETWEEN_WORDS = re.compile(r"[\s\"'`=;:,(){}<>|&]+")
_TAKES_ALL = re.compile(r"\.{1,2}/?|/src/?|\$PWD/?|(?:\./|/src/)?[^/$]*[*?][^/]*")


@dataclass(frozen=True, slots=True)
class Step:
    """The layer that a step made, and what it wrote."""

    layer: Layer
    files: StepFiles


def script_layer(
    script: str, files: Sequence[Found], base: Base, below: Sequence[Layer], recipe: Recipe, store: Store, reporter: Reporter
) -> Step:
    """The layer of one of the project's scripts, which runs before the packages are there, beside the project's files.

    It is made again when a file changes that the script may read, of those that it names.

    Raises:
        LadingError: if no engine is there, or the script fails.
    """
    under = _image((*base.layers, *below), base, recipe, store)
    key = [str(file_digest(str(recipe.root / script))), *digest_found(read_by(recipe.root / script, files))]
    return _run_layer(Kind.SCRIPT, script, under, [command_of(script)], key, recipe, store, reporter, origin=Origin(script), project=True)


def command_of(script: str) -> str:
    """What runs one of the project's scripts, in the folder that its path is relative to."""
    return f"{'python' if script.endswith('.py') else 'bash -e'} {shlex.quote(script)}"


def read_by(script: Path, files: Sequence[Found]) -> list[Found]:
    """The files that a script may read: those whose name, or a folder of theirs, stands in it or in another that it names.

    All of them where it names none but takes what is there (``.``, ``*.whl``), so that none is missed that way.
    """
    rest, waiting = list(files), [str(script)]
    found: list[Found] = []
    while waiting:
        text = Path(waiting.pop()).read_text(encoding="utf-8", errors="replace")
        words = set(_BETWEEN_WORDS.split("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))))
        if any(_TAKES_ALL.fullmatch(word) for word in words):
            return list(files)
        names = {part for word in words for part in word.split("/")}
        named = [one for one in rest if not names.isdisjoint({*one.path.split("/")[1:], Path(one.path).stem})]
        waiting += [one.source for one in named if one.size < _TEXT and not one.folder and not one.target]
        found += named
        paths = {one.path for one in named}
        rest = [one for one in rest if one.path not in paths]
    return sorted(found, key=lambda one: one.path)


def command_layer(under: Image, recipe: Recipe, store: Store, reporter: Reporter) -> Step:
    """The layer of commands that run after the packages are there; the project's files are not, as in Cog.

    Raises:
        LadingError: if no engine is there, or a command fails.
    """
    commands = [command for command, _ in recipe.steps.after]
    title = redact_urls("; ".join(commands))  # it stands in the image's history
    shown = title if len(title) <= 60 else f"{title[:59]}…"
    return _run_layer(Kind.STEPS, shown, under, commands, [], recipe, store, reporter, origin=Origin("build.run"), project=False)


def apt_layer(base: Base, title: str, recipe: Recipe, store: Store, reporter: Reporter) -> Layer:
    """The system packages as apt installs them.

    Raises:
        LadingError: if no engine is there, or apt fails.
    """
    names = " ".join(map(shlex.quote, sorted(recipe.system_packages)))
    commands = ["apt-get -qq update", f"apt-get -qq install -y --no-install-recommends {names} </dev/null"]
    under = _image(base.layers, base, recipe, store)
    step = _run_layer(Kind.SYSTEM, title, under, commands, [], recipe, store, reporter, origin=Origin("system packages"), project=False)
    return step.layer


def _image(layers: Sequence[Layer], base: Base, recipe: Recipe, store: Store) -> Image:
    inherited = dict(base.config.get("config") or {})
    settings = Settings(entrypoint=tuple(inherited.get("Entrypoint") or ()), command=tuple(inherited.get("Cmd") or ()))
    config = make_config(base.config, layers, settings, {}, recipe.platform)
    manifest = make_manifest(config, layers, {})
    return Image(manifest=manifest, config=config, layers=tuple(layers), blobs=store, platform=recipe.platform)


def _run_layer(
    kind: Kind,
    title: str,
    under: Image,
    commands: Sequence[str],
    further: Sequence[str],
    recipe: Recipe,
    store: Store,
    reporter: Reporter,
    *,
    origin: Origin,
    project: bool,
) -> Step:
    """Kept by what lies below it and the commands: such a layer differs a little each time it is made, so it is made once."""
    diff_ids = [layer.diff_id for layer in under.layers]
    key = fold_hashes([_FORMAT, *diff_ids, *commands, *further, str(recipe.compression)])
    known, note = store.known(kind, title, key), store.note("steps", key)
    if known is not None and note is not None and not recipe.steps.again:
        return Step(known, StepFiles.from_json(note))
    engine = find_engine(ENGINES)
    if engine is None:
        raise LadingError(_no_engine(commands, origin))
    reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{title} ({engine.name})"))
    with build_container(engine, recipe, reporter, origin) as container:
        top = container.build(under, commands, project=project)
        with store.aside() as (path, stream), LayerWriter(stream, recipe.compression) as writer:
            rewriting = Rewriting(writer, container.mounts, packages=kind is Kind.SYSTEM)
            if top is not None:
                rewriting.run(Layout(container.out), top)
            files = rewriting.beside(container.written, recipe.root)
            written = writer.finish()
            stream.flush()
            store.adopt(path, written.digest)
    store.keep_note("steps", key, files.as_json())
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=title))
    return Step(store.remember(kind, title, key, written, recipe.compression), files)


def _no_engine(commands: Sequence[str], origin: Origin) -> Problem:
    first = redact_urls(commands[0])
    first = first if len(first) <= 60 else f"{first[:59]}…"
    return Problem(
        rule="build-engine-missing",
        what=f"`{first}` has to run in a build container, and there is no buildah, podman or docker on this machine.",
        origin=origin,
        why="Commands are the one part of an image that cannot be made without running it.",
        instead="Install one (`apt-get install buildah`), or declare what the commands install: `lading migrate` writes what it understands.",
        code=ExitCode.BUILD,
    )
