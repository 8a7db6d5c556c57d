"""Building one environment that conda comes first in: conda's packages linked from a cache, then pip's on top by uv.

A conda prefix holds its own path in many of its files, so it is linked as if it lay where it will be put when it is finished, and is not
used before. uv, which needs its Python to run, sees it there by a symbolic link as long as it is built.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lading.environments.ahead import ENVIRONMENT
from lading.environments.home import ENVIRONMENTS, home
from lading.environments.link_scripts import run_scripts
from lading.environments.prefix_link import Linking, link_packages
from lading.environments.prefix_progress import Progress
from lading.environments.verify import Question, incomplete, installed, same_version
from lading.explain.text import count as counted
from lading.model.conda import CondaLock, CondaPackage
from lading.model.events import Phase
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.target import Interpreter
from lading.resolvers.conda_client import caches, require_rattler
from lading.resolvers.places import local_path

if TYPE_CHECKING:
    from lading.environments.build import Work


def build_prefix(work: Work, folder: Path, conda: CondaLock) -> Path:
    """Build into ``folder``; the environment's path in it.

    Raises:
        LadingError: if a package cannot be had, has another hash or does not fit, or what was built is not what the lock names.
    """
    require_rattler(Origin(work.plan.lock_path))
    place = folder / ENVIRONMENT
    final = folder.parent.parent / ENVIRONMENTS / folder.name
    _must_be_reachable(work, conda)
    _check_local_files(work, conda)
    with _Early(place) as early:
        _link(work, conda, place, final, early.ask)
        _write_variables(work, place)
        with _seen_as(place, final):
            run_scripts(place, final, conda, work.plan.lock_path, work.scripts)
            if work.lock.packages:
                _pip_on_top(work, folder, final)
            reasons = [*early.differences(work.interpreter), *_differences(place, work, conda)]
    if reasons:
        raise LadingError(incomplete(reasons))
    _correct_scripts(place, final)
    return place


class _Early:
    """The question to the prefix's Python, asked as soon as that is linked; asked again at the end if it had no good answer then.

    It is asked for its version alone, which takes a quarter of the time of starting it to run something: the loader has found its libraries
    then, and the C library is new enough. Its other files are its package's, which py-rattler has checked.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._questions = ExitStack()
        self._first: Question | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._questions.close()

    def ask(self) -> None:
        """Ask now."""
        self._first = self._questions.enter_context(Question(self._place, "-V"))

    def differences(self, interpreter: Interpreter) -> list[str]:
        """What is wrong with the interpreter, in words."""
        if self._first is not None and not self._first.differences(interpreter):
            return []
        return self._questions.enter_context(Question(self._place, "-V")).differences(interpreter)


def _link(work: Work, conda: CondaLock, place: Path, final: Path, python_is_there: Callable[[], None]) -> None:
    progress = Progress(work.reporter, len(conda.packages), python_is_there)
    packages = counted(len(conda.packages), "package")
    progress.report(Phase.STARTED, packages)
    try:
        link_packages(Linking(conda, work.plan, work.root, place, final), progress)
    except LadingError:
        progress.report(Phase.FAILED, "")
        raise
    progress.report(Phase.FINISHED, packages)


def _must_be_reachable(work: Work, conda: CondaLock) -> None:
    """With ``--offline``, every package must be in the cache or in a folder of this machine.

    Raises:
        LadingError: naming those that are not.
    """
    if not work.offline:
        return
    packages = caches(home(), os.environ).packages
    absent = [package for package in conda.packages if _is_remote(package) and not os.path.isdir(os.path.join(packages, package.stem))]
    if absent:
        raise LadingError(_not_cached(absent))


def _is_remote(package: CondaPackage) -> bool:
    return "://" in package.url and not package.url.startswith("file:")


def _not_cached(absent: list[CondaPackage]) -> Problem:
    names = ", ".join(f"{package.name} {package.version}" for package in absent[:5])
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    return Problem(
        rule="conda-not-cached",
        what=f"{names}{more} {'is' if len(absent) == 1 else 'are'} not in the cache, and the network is off (--offline).",
        instead="Run once without --offline.",
        code=ExitCode.NETWORK,
    )


def _check_local_files(work: Work, conda: CondaLock) -> None:
    """Compare the files of channels on this machine with the lock's hashes: py-rattler compares those alone that it downloads.

    Raises:
        LadingError: naming every file that is another one.
    """
    cache = caches(home(), os.environ).packages
    local = [package for package in conda.packages if not _is_remote(package) and not _is_cached(package, cache)]
    wrong = [package for package in local if not _has_locked_hash(package, work.root)]
    if wrong:
        raise LadingError(*(_another_file(package, work) for package in wrong))


def _is_cached(package: CondaPackage, cache: str) -> bool:
    """Whether the file was unpacked before: py-rattler keeps the hash of what it unpacked beside it, after eight bytes that count."""
    try:
        with open(os.path.join(cache, f"{package.stem}.lock"), "rb") as stream:
            return stream.read(40)[8:].hex() == package.sha256 != ""
    except OSError:
        return False


def _has_locked_hash(package: CondaPackage, root: Path) -> bool:
    algorithm, wanted = ("sha256", package.sha256) if package.sha256 else ("md5", package.md5)
    try:
        with open(local_path(package.url, root), "rb") as stream:
            return not wanted or hashlib.file_digest(stream, algorithm).hexdigest() == wanted
    except OSError:
        return True  # it may be in the cache; else the installation says that it is gone


def _another_file(package: CondaPackage, work: Work) -> Problem:
    return Problem(
        rule="hash-mismatch",
        what=f"{package.file_name} has another hash than the lock.",
        origin=Origin(work.plan.lock_path),
        why=f"The file in {package.url.rpartition('/')[0]} was changed after the lock was made.",
        instead="If you trust the file, run `lading lock --upgrade`; otherwise find out who changed it.",
        code=ExitCode.RESOLUTION,
    )


def _write_variables(work: Work, place: Path) -> None:
    """The environment's own variables, where conda keeps them."""
    variables = work.plan.conda.variables if work.plan.conda else ()
    if variables:
        state = {"version": 1, "env_vars": {name: value.reveal() for name, value in variables}}
        descriptor = os.open(place / "conda-meta" / "state", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(state, stream)


@contextmanager
def _seen_as(place: Path, final: Path) -> Iterator[None]:
    """Let ``place`` be seen under the path that it will have. What is there is set aside, and comes back if this fails."""
    from lading.environments.store import set_aside  # noqa: PLC0415 -- it imports this module's importer

    final.parent.mkdir(parents=True, exist_ok=True)
    before = None
    if final.is_symlink():
        final.unlink()
    elif final.exists():
        before = set_aside(str(final.parent.parent), str(final))
    final.symlink_to(place, target_is_directory=True)
    try:
        yield
    except BaseException:
        final.unlink(missing_ok=True)
        if before is not None:
            os.rename(before, final)
        raise
    final.unlink(missing_ok=True)


def _pip_on_top(work: Work, folder: Path, final: Path) -> None:
    from lading.environments.build import Call, prepare  # noqa: PLC0415 -- as above

    call = Call(work, prepare(work, folder), folder)
    call.add(final)


def _correct_scripts(place: Path, final: Path) -> None:
    """Scripts that were written with the path of the building site get the one that they will have."""
    here, there = str(place).encode(), str(final).encode()
    for script in (place / "bin").iterdir():
        if script.is_symlink() or not script.is_file() or script.stat().st_nlink > 1:
            continue
        with script.open("rb") as stream:
            head = stream.read(2)
            if head != b"#!":
                continue
            content = head + stream.read()
        if here in content:
            mode = script.stat().st_mode
            script.unlink()
            script.write_bytes(content.replace(here, there))
            script.chmod(mode)


def _differences(place: Path, work: Work, conda: CondaLock) -> Iterator[str]:
    """What conda's records and the Python packages' own say that is not in the lock."""
    records = {name.removesuffix(".json") for name in os.listdir(place / "conda-meta") if name.endswith(".json")}
    locked = {package.stem for package in conda.packages}
    for stem in sorted(locked - records):
        yield f"{stem} is missing"
    for stem in sorted(records - locked):
        yield f"{stem} is installed and not in the lock"
    found = _python_packages(place) if work.lock.packages or conda.shared else {}
    for package in work.lock.packages:
        name = canonical(str(package["name"]))
        if name not in found and "marker" not in package:
            yield f"{name} is missing"
        elif "version" in package and name in found and not same_version(str(package["version"]), found[name]):
            yield f"{name} {found[name]} is installed, the lock has {package['version']}"
    for name, version in conda.shared:
        if name not in found:
            yield f"conda was taken to install {name} {version}, and no package does"
        elif not same_version(version, found[name]):
            yield f"conda was taken to install {name} {version}, and it is {found[name]}"


def _python_packages(place: Path) -> dict[str, str]:
    """Every Python distribution of the prefix; conda's older builds leave an egg-info behind."""
    eggs = {}
    for info in place.glob("lib/python*/site-packages/*.egg-info"):
        name, _, rest = info.name.removesuffix(".egg-info").partition("-")
        eggs[canonical(name)] = rest.partition("-py")[0]
    return {**eggs, **dict(installed(place))}
