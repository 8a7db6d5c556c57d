"""The store of environments: built once, found by what they are made from, used by many, removed when nothing uses them.

::

    LADING_HOME/envs/<key>/          a finished environment: a virtual environment with the file `lading.json`
    LADING_HOME/building/<key>/      one that is being built, or was when its builder was killed
    LADING_HOME/building/ahead-<n>/  one that process n builds before it knows the key; see `lading.environments.ahead`
    LADING_HOME/removed/<name>/      one that is being removed
    LADING_HOME/locks/<key>          who builds; see `lading.environments.claims`
    LADING_HOME/conda/               conda's packages and the channels' indexes, unless RATTLER_CACHE_DIR names another folder

An environment appears in ``envs`` by one rename when it is finished, and goes by one rename, so at any moment it is there whole or not at
all. Its files are mostly hard links into uv's cache: never edit them in place.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.environments.ahead import Ahead
from lading.environments.claims import claim, same_file, touch, try_claim, try_lock
from lading.environments.claims import hold as hold  # noqa: PLC0414 -- a part of the store
from lading.environments.home import ENVIRONMENTS, home, require_writable, unusable
from lading.environments.keys import FORMAT, Key, make_key
from lading.environments.stamp import STORED, forget_removed
from lading.explain.text import count as counted
from lading.model.environment import Environment
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.records import dataclass
from lading.model.target import Interpreter

if TYPE_CHECKING:
    from lading.environments.scripts import Policy

BUILDING = "building"
REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One environment of the store.

    ``bytes`` is the size of its files; those that are hard links into uv's cache take no room of their own. ``created`` and ``used`` (the
    last time) are seconds since 1970. ``checkout`` is the project's folder for an environment that holds packages of it. ``held`` says
    whether a process uses it now.
    """

    key: str
    path: str
    python_version: str
    packages: int
    bytes: int
    created: float
    used: float
    held: bool
    checkout: str | None = None
    family: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; times are in UTC."""
        record = {
            "key": self.key,
            "path": self.path,
            "python_version": self.python_version,
            "packages": self.packages,
            "bytes": self.bytes,
            "created": _utc(self.created),
            "used": _utc(self.used),
            "held": self.held,
            "checkout": self.checkout,
        }
        return {name: value for name, value in record.items() if value is not None}


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def create_environment(
    lock: Lock,
    text: str,
    interpreter: Interpreter,
    root: Path,
    *,
    plan: Plan,
    reporter: Reporter = silent,
    offline: bool = False,
    ahead: Ahead | None = None,
    scripts: Policy | None = None,
) -> Environment:
    """The lock's environment: found in the store, else built there by uv. Two processes that want the same build it once.

    Args:
        lock: What to install.
        text: The lock as a file's content.
        interpreter: The Python of the environment.
        root: The project's folder, where the lock's relative paths start.
        plan: Whose indexes, credentials and requirements these are.
        reporter: Listens to the progress.
        offline: Use what is in uv's cache alone.
        ahead: An installation that was begun before, to be taken over if it is the same.
        scripts: What is done about the scripts that conda packages bring; by default those run that were allowed before.

    Raises:
        LadingError: if a package cannot be had, does not fit, has another hash or fails to build, or if the store cannot be written. The
            store is then as it was.
    """
    key = make_key(lock, interpreter, root, plan)
    place = os.path.join(home(), ENVIRONMENTS, key.name)
    if is_finished(place) and not _lacks_scripts(place, lock, plan, scripts):
        return _found(place, key)
    store = require_writable()
    wait = _Wait(reporter, _headline(lock, interpreter))
    with claim(store, key.name, wait.begin) as descriptor:
        wait.end()
        if is_finished(place) and not _lacks_scripts(place, lock, plan, scripts):
            return _found(place, key)
        _sweep(store, key.name)
        from lading.environments.build import STEP, Work, build, take_over  # noqa: PLC0415 -- mostly the environment is there

        work = Work(
            lock=lock,
            text=text,
            interpreter=interpreter,
            root=root,
            plan=plan,
            reporter=reporter,
            offline=offline,
            claim=descriptor,
            scripts=scripts,
        )
        aside = Path(store, BUILDING, key.name)
        reporter(Event(step=STEP, phase=Phase.STARTED, message=_headline(lock, interpreter)))
        try:
            aside.mkdir(parents=True)
            built = take_over(ahead, work) or build(work, aside)
            _write_record(built, key, interpreter, len(lock.packages) + (len(lock.conda.packages) if lock.conda else 0))
            _publish(built, place)
        except OSError as error:
            reporter(Event(step=STEP, phase=Phase.FAILED))
            raise unusable(store, error) from error
        except BaseException:
            reporter(Event(step=STEP, phase=Phase.FAILED))
            raise
        finally:
            _remove_tree(str(aside))
        reporter(Event(step=STEP, phase=Phase.FINISHED, message=_headline(lock, interpreter)))
    if key.family:
        _retire(key)
    return Environment(path=place, python=os.path.join(place, "bin", "python"), key=key.name)


def is_finished(place: str) -> bool:
    """Whether a folder is an environment that was built to the end and whose Python is there."""
    return os.path.exists(os.path.join(place, STORED)) and os.path.exists(os.path.join(place, "bin", "python"))


def _lacks_scripts(place: str, lock: Lock, plan: Plan, scripts: Policy | None) -> bool:
    """Whether a finished environment was made without scripts of conda packages that are allowed by now."""
    if lock.conda is None:
        return False
    from lading.environments.link_scripts import wants_scripts  # noqa: PLC0415 -- few projects need conda

    return wants_scripts(Path(place), lock.conda, plan.lock_path, scripts)


def _found(place: str, key: Key) -> Environment:
    touch(place)
    return Environment(path=place, python=os.path.join(place, "bin", "python"), key=key.name, reused=True)


def _headline(lock: Lock, interpreter: Interpreter) -> str:
    count = len(lock.packages) + (len(lock.conda.packages) if lock.conda else 0)
    return f"{counted(count, 'package')} for Python {interpreter.version}"


class _Wait:
    """Says that another process builds the same environment, if that is so."""

    def __init__(self, reporter: Reporter, headline: str) -> None:
        self._reporter, self._headline, self._waits = reporter, headline, False

    def begin(self) -> None:
        self._waits = True
        message = f"for another process, which installs the same {self._headline}"
        self._reporter(Event(step="Waiting", phase=Phase.STARTED, message=message))

    def end(self) -> None:
        if self._waits:
            self._reporter(Event(step="Waiting", phase=Phase.FINISHED))


def _write_record(built: Path, key: Key, interpreter: Interpreter, packages: int) -> None:
    """Write the file that makes a folder an environment."""
    record = {
        "format": FORMAT,
        "key": key.name,
        "python": {"version": interpreter.version, "path": interpreter.path},
        "packages": packages,
        "created": time.time(),
        "checkout": key.checkout,
        "family": key.family,
    }
    with open(built / STORED, "w", encoding="utf-8") as stream:
        json.dump({name: value for name, value in record.items() if value is not None}, stream, indent=1)


def _publish(built: Path, place: str) -> None:
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.lexists(place):  # damaged (its record or its Python went away), or built before its scripts were allowed
        set_aside(home(), place)
    os.rename(built, place)


def list_environments() -> tuple[Stored, ...]:
    """Every finished environment, the last used first."""
    places = (os.path.join(home(), ENVIRONMENTS, name) for name in _names(os.path.join(home(), ENVIRONMENTS)))
    found = (_read(place) for place in places)
    return tuple(sorted((one for one in found if one), key=lambda one: one.used, reverse=True))


def prune(*, older_than: float = 0.0, dry_run: bool = False) -> tuple[Stored, ...]:
    """Remove the environments that no process holds and that were not used for ``older_than`` seconds, and what killed builders left.

    Returns what was removed, or would be with ``dry_run``. An environment that was damaged (its Python is gone) counts as unused.

    Raises:
        LadingError: if the store cannot be written.
    """
    limit = time.time() - older_than
    old = [one for one in list_environments() if not one.held and (one.used <= limit or not is_finished(one.path))]
    if dry_run or not os.path.isdir(home()):
        return tuple(old)
    store = require_writable()
    removed = tuple(one for one in old if _remove(store, one))
    _sweep(store, None)
    forget_removed(store)
    return removed


def _read(place: str) -> Stored | None:
    """The record of a finished environment; None for anything else, such as one that is going away."""
    path = os.path.join(place, STORED)
    try:
        with open(path, encoding="utf-8") as stream:
            record = json.load(stream)
            held = not try_lock(stream.fileno(), fcntl.LOCK_EX)
        return Stored(
            key=os.path.basename(place),
            path=place,
            python_version=str(record["python"]["version"]),
            packages=int(record["packages"]),
            bytes=_size(place),
            created=float(record["created"]),
            used=os.stat(path).st_mtime,
            held=held,
            checkout=record.get("checkout"),
            family=record.get("family"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(folder: str) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            total += _size(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
    return total


def _retire(key: Key) -> None:
    """Remove what a checkout's environment was before its sources changed, unless it is in use."""
    for one in list_environments():
        if one.family == key.family and one.checkout == key.checkout and one.key != key.name:
            _remove(home(), one)


def _remove(store: str, stored: Stored) -> bool:
    """Move an environment out of the way and delete it, if nobody holds it."""
    path = os.path.join(stored.path, STORED)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX) or not same_file(descriptor, path):
            return False
        aside = set_aside(store, stored.path)
    finally:
        os.close(descriptor)
    _remove_tree(aside)
    return True


def set_aside(store: str, place: str) -> str:
    """Rename a folder out of ``envs``; from then on it does not exist for anybody.

    Raises:
        LadingError: if the store cannot be written.
    """
    aside = os.path.join(store, REMOVED, f"{os.path.basename(place)}-{os.getpid()}-{time.time_ns()}")
    try:
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        os.rename(place, aside)
    except OSError as error:
        raise unusable(store, error) from error
    return aside


def _sweep(store: str, own: str | None) -> None:
    """Delete what killed processes left: half-built environments whose builder is gone, and half-removed ones."""
    for name in _names(os.path.join(store, REMOVED)):
        _remove_tree(os.path.join(store, REMOVED, name))
    for name in _names(os.path.join(store, BUILDING)):
        folder = os.path.join(store, BUILDING, name)
        if name == own:
            _remove_tree(folder)
        else:
            with try_claim(store, name) as free:
                if free:
                    _remove_link(os.path.join(store, ENVIRONMENTS, name))
                    _remove_tree(folder)


def _remove_link(place: str) -> None:
    """Delete the link under which a prefix that conda comes first in is seen while it is built."""
    try:
        if os.path.islink(place):
            os.unlink(place)
    except OSError:
        return


def _remove_tree(folder: str) -> None:
    """Delete a folder as far as it can be; another process may be deleting it too."""
    shutil.rmtree(folder, ignore_errors=True)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
