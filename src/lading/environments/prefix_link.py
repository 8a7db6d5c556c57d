"""Linking conda's packages into a prefix from the cache, and fetching those that are not there."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

from lading.environments.conda_cache import mend
from lading.environments.home import home
from lading.environments.prefix_failures import explain
from lading.environments.prefix_progress import Progress, watched
from lading.model.conda import CondaLock, Network
from lading.model.plan import Plan
from lading.model.problems import LadingError
from lading.model.records import dataclass
from lading.resolvers.conda import record_of
from lading.resolvers.conda_client import caches, client

# An interrupted installation is removed until nothing came back for so many looks, this many seconds apart; 2 s at most.
_TRIES, _QUIET, _PAUSE = 100, 3, 0.02


@dataclass(frozen=True, slots=True)
class Linking:
    """What is linked: a lock's conda part, whose relative places start at ``root``, into ``place``, as if that lay where ``final`` is."""

    conda: CondaLock
    plan: Plan
    root: Path
    place: Path
    final: Path


def link_packages(linking: Linking, progress: Progress) -> None:
    """Link every package; py-rattler does it.

    Raises:
        LadingError: if a package cannot be had or linked. Nothing is left of the prefix then.
    """
    try:
        asyncio.run(_install(linking, progress))
    except LadingError:
        raise
    except Exception as error:  # py-rattler has no common class for its errors
        raise LadingError(explain(error, linking.plan.lock_path)) from error


async def _install(linking: Linking, progress: Progress, *, again: bool = False) -> None:
    """Link the packages; ``again`` after those that were damaged in the cache were taken out of it."""
    import rattler  # noqa: PLC0415 -- an optional part

    cache, asked = caches(home(), os.environ).packages, linking.plan.conda
    try:
        installing = rattler.install(
            [record_of(package, linking.root) for package in linking.conda.packages],
            target_prefix=linking.place,
            cache_dir=Path(cache),
            installed_packages=[],
            platform=rattler.Subdir(linking.conda.platform),
            execute_link_scripts=False,
            show_progress=False,
            client=client(asked),
            reporter=progress,  # type: ignore[arg-type] # it calls the hooks that are there
            alternative_target_prefix=linking.final,
        )
        await watched(installing, progress, (asked.network if asked else Network()).patience)
    except BaseException as error:
        _take_away(linking.place)
        gone = not again and "No such file or directory" in str(error)
        if not gone or not mend(cache, (package.stem for package in linking.conda.packages)):
            raise
        progress.begin_again()
        await _install(linking, progress, again=True)


def _take_away(place: Path) -> None:
    """Remove what an installation that was ended has linked; py-rattler's threads end what they are at before they stop."""
    quiet = 0
    for _ in range(_TRIES):
        quiet = 0 if place.exists() else quiet + 1
        if quiet == _QUIET:
            return
        shutil.rmtree(place, ignore_errors=True)
        time.sleep(_PAUSE)
