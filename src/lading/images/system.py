"""Debian packages as a layer. Where no package needs its scripts to run, their files are put there; else apt runs in a build container.

apt itself chooses the packages, from the base's own sources and beside what the base has installed, and checks their signatures.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lading.images.apt import Apt, AptError, said
from lading.images.base import Base
from lading.images.build_container import ENGINES
from lading.images.debs import Deb, MustRunError, write_debs
from lading.images.engines import find_engine
from lading.images.layers import LayerWriter
from lading.images.media import Kind, Layer
from lading.images.recipe import Recipe
from lading.images.steps import apt_layer
from lading.images.store import Store
from lading.model.decisions import Decision
from lading.model.decisions import Kind as DecisionKind
from lading.model.events import Event, Phase, Reporter
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

STEP = "Fetching system packages"
_NAMES_APT = re.compile(r"\b(apt|apt-get|aptitude|dpkg)\b")

_NO_APT = re.compile(r"apt-get: (?:command )?not found|apt-get: No such file")
_UNREACHED = re.compile(r"Could not (?:connect|resolve)|Unable to connect|Temporary failure resolving|Connection (?:timed out|failed)")


def system_layer(base: Base, recipe: Recipe, store: Store, reporter: Reporter) -> tuple[Layer, Decision]:
    """The packages as a layer, and how it was made.

    Raises:
        LadingError: if a package cannot be had, or one must be installed in a build container and there is none.
    """
    packages, compression = recipe.system_packages, recipe.compression
    names = sorted(packages)  # a layer that two projects share must not be named by the one that came first
    title = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    running = _why_to_run(recipe)
    key = fold_hashes(["debian by name, 3", *(layer.diff_id for layer in base.layers), *names, running, str(compression)])
    note = store.note("system", key)
    if note is not None and not recipe.steps.again and store.has(note["layer"]["digest"]):
        return Layer.from_json(note["layer"]), _decision(packages, str(note["how"]))
    if recipe.offline:
        raise LadingError(_not_here(title))
    reporter(Event(step=STEP, phase=Phase.STARTED, message=title))
    try:
        layer, how = _made(base, recipe, running, title, key, store, reporter)
    except BaseException:
        reporter(Event(step=STEP, phase=Phase.FAILED))
        raise
    store.keep_note("system", key, {"how": how, "layer": layer.as_json()})
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=title))
    return layer, _decision(packages, how)


def _why_to_run(recipe: Recipe) -> str:
    """Why apt must have installed the packages: commands of the project that ask it what is there. Else nothing."""
    texts = [command for command, _ in recipe.steps.after]
    texts += [(recipe.root / script).read_text(encoding="utf-8", errors="replace") for script in recipe.steps.before]
    return "commands of the project use apt, which must know them" if any(map(_NAMES_APT.search, texts)) else ""


def _made(base: Base, recipe: Recipe, running: str, title: str, key: str, store: Store, reporter: Reporter) -> tuple[Layer, str]:
    """By their files where that is sound, else, whatever the reason is, by apt in a build container."""
    why, said_here = running, ""
    if not why:
        try:
            with tempfile.TemporaryDirectory(prefix="lading-apt-") as folder:
                apt = Apt(Path(folder), base, store)
                debs = apt.fetch(recipe.system_packages)
                why = apt.installed.why_not_by_files(debs)
                if not why:
                    layer = _by_files(debs, apt, base, recipe, title, key, store)
                    return (
                        layer,
                        f"the files of {_counted(len(debs))}; nothing of them would have to run" if debs else "the base has them all",
                    )
        except MustRunError as error:
            why = str(error)
        except AptError as error:
            if error.certain:
                raise LadingError(_apt_failed(error.said)) from error
            why, said_here = str(error), " ".join(error.said.splitlines()[:3]).rstrip(".")
    # What apt said names mirrors and proxies, and changes with the network: it is told, but the image that others get does not keep it.
    if said_here:
        reporter(Event(step=STEP, phase=Phase.OUTPUT, message=said_here))
    layer = _by_running(base, recipe, f"{why}: {said_here}" if said_here else why, title, store, reporter)
    return layer, f"{why}, so apt ran in a build container"


def _by_files(debs: Sequence[Deb], apt: Apt, base: Base, recipe: Recipe, title: str, key: str, store: Store) -> Layer:
    with store.aside() as (path, stream), LayerWriter(stream, recipe.compression) as writer:
        write_debs(writer, debs, apt.installed, base.links)
        written = writer.finish()
        stream.flush()
        store.adopt(path, written.digest)
    return store.remember(Kind.SYSTEM, title, key, written, recipe.compression)


def _counted(packages: int) -> str:
    return f"{packages} package{'' if packages == 1 else 's'}"


def _by_running(base: Base, recipe: Recipe, why: str, title: str, store: Store, reporter: Reporter) -> Layer:
    if find_engine(ENGINES) is None:
        raise LadingError(_no_way(recipe.system_packages, why))
    try:
        return apt_layer(base, title, recipe, store, reporter)
    except LadingError as error:
        details = [problem.detail or "" for problem in error.problems if problem.rule == "build-step-failed"]
        if not details:
            raise
        raise LadingError(_apt_failed(details[0], why)) from error


def _decision(packages: Sequence[str], how: str) -> Decision:
    return Decision(
        rule="system-packages-layer",
        kind=DecisionKind.CHOSEN,
        subject="system packages",
        asked=", ".join(packages),
        chose="a layer of their own",
        because=how,
        instead="a base image that has them: --base IMAGE",
    )


def _not_here(title: str) -> Problem:
    return Problem(
        rule="offline-not-cached",
        what=f"The system packages {title} are not on this machine, and --offline forbids to fetch them.",
        origin=Origin("system packages"),
        instead="Run once without --offline, or name a base image that has them: --base IMAGE.",
        code=ExitCode.NETWORK,
    )


def _no_way(packages: Sequence[str], why: str) -> Problem:
    return Problem(
        rule="build-engine-missing",
        what=f"{', '.join(packages)} cannot be put into the image without a build container, and there is no buildah, podman or docker.",
        origin=Origin("system packages"),
        why=f"Their files alone are not enough, or not to be had: {why}.",
        instead="Install one (`apt-get install buildah`), in which apt installs them; or name a base image that has them: --base IMAGE.",
        code=ExitCode.BUILD,
    )


def _apt_failed(output: str, before: str = "") -> Problem:
    """What apt said, here or (``before`` is why) in a build container."""
    lines = list(dict.fromkeys(said(output)))
    unreached = bool(_UNREACHED.search(output))
    return Problem(
        rule="system-packages-failed",
        what=f"apt could not find or install the system packages{' in a build container' if before else ''}.",
        origin=Origin("system packages"),
        why="The base has no apt: it is no Debian or Ubuntu." if _NO_APT.search(output) else " ".join(lines[:2]) or None,
        instead="Correct the names (`apt-cache search`), or see that this machine reaches the base's sources (https_proxy); or name a base image that has the packages: --base IMAGE.",
        code=ExitCode.NETWORK if unreached else ExitCode.BUILD,
        detail="\n".join(filter(None, (f"Without one: {before}." if before else "", output.strip()))) or None,
    )
