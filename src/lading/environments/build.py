"""Building one environment with uv in a folder of its own: a virtual environment, and the locked packages in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.environments.access import Access, make_access
from lading.environments.ahead import ENVIRONMENT, Ahead
from lading.environments.home import unusable
from lading.environments.keys import local_packages
from lading.environments.verify import Answer, Question, verify
from lading.explain.text import count as counted
from lading.model.events import Event, Phase, Reporter
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import LadingError
from lading.model.records import dataclass
from lading.model.target import Interpreter
from lading.resolvers.builds import of_lock
from lading.resolvers.process import Finished, program, run

if TYPE_CHECKING:
    from lading.environments.scripts import Policy

STEP = "Installing"
DOWNLOADING = "Downloading"

LOCK_FILE = "pylock.toml"
_CONFIG = "uv.toml"

_PREPARED = re.compile(r"(?:Prepared|Installed) (\d+) packages? in ")
# Failures that the network cannot mend: what uv found in its cache is what it would download.
_FINAL = re.compile(
    r"The build backend returned an error|Hash mismatch for|No space left on device|for the current platform|incompatible with"
)
_NEEDS_NETWORK = re.compile(r"network was disabled|Network connectivity is disabled|not found in the cache|offline", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is built.

    ``text`` is the lock as a file's content; ``claim`` a file descriptor that uv keeps open as long as it runs; ``scripts`` what is done
    about the scripts of conda packages.
    """

    lock: Lock
    text: str
    interpreter: Interpreter
    root: Path
    plan: Plan
    reporter: Reporter
    offline: bool
    claim: int
    scripts: Policy | None = None


def build(work: Work, folder: Path) -> Path:
    """Build into ``folder``; the environment's path in it.

    uv's cache is asked first and the network only where that is not enough: without a look at the network, what was downloaded before
    is installed several times faster.

    Raises:
        LadingError: if a package cannot be had, does not fit or fails to build, or what was built is not what the lock names.
    """
    if work.lock.conda is not None:
        from lading.environments.prefix import build_prefix  # noqa: PLC0415 -- few projects need conda

        return build_prefix(work, folder, work.lock.conda)
    place = folder / ENVIRONMENT
    call = Call(work, prepare(work, folder), folder)
    call.check(call.uv("venv", "--quiet", "--relocatable", "--no-project", "--python", work.interpreter.path, str(place)))
    with Question(place) as question:
        call.sync(place)
        verify(place, work.lock, question.differences(work.interpreter))
    return place


def prepare(work: Work, folder: Path) -> Access:
    """Write what uv reads into ``folder``; how it may reach what the lock names.

    Raises:
        LadingError: if the store cannot be written.
    """
    access = make_access(work.plan, work.root)
    try:
        (folder / LOCK_FILE).write_text(_lock_text(work), encoding="utf-8", newline="\n")
        (folder / _CONFIG).write_text(of_lock(work.lock) + _config(access), encoding="utf-8")
    except OSError as error:
        raise unusable(str(folder.parent.parent), error) from error
    return access


def take_over(ahead: Ahead | None, work: Work) -> Path | None:
    """The environment that was begun ahead, if it is this one and succeeded.

    Raises:
        LadingError: if what was built is not what the lock names.
    """
    if ahead is None or ahead.text != work.text.encode() or ahead.python != os.path.realpath(work.interpreter.path):
        return None
    if work.plan.options.no_binary:
        return None
    if not ahead.wait():
        return None
    place = Path(ahead.environment)
    verify(place, work.lock, Answer(place, ahead.answer()).differences(work.interpreter))
    return place


def _lock_text(work: Work) -> str:
    """The lock as it is, or with absolute paths where it names files of the project: uv reads a copy that lies elsewhere."""
    packages = [_absolute(package, work.root) for package in work.lock.packages]
    if packages == list(work.lock.packages):
        return work.text
    import tomli_w  # noqa: PLC0415 -- only for locks with local files

    return tomli_w.dumps({**work.lock.document, "packages": packages})


def _absolute(package: Mapping[str, Any], root: Path) -> Mapping[str, Any]:
    moved = dict(package)
    for key in ("directory", "archive", "sdist", "vcs"):
        if key in package:
            moved[key] = _moved(package[key], root)
    if "wheels" in package:
        moved["wheels"] = [_moved(wheel, root) for wheel in package["wheels"]]
    return moved


def _moved(file: Mapping[str, Any], root: Path) -> Mapping[str, Any]:
    return {**file, "path": os.path.normpath(root / str(file["path"]))} if "path" in file else file


def _config(access: Access) -> str:
    """The places that uv has credentials for, without them: they come by environment variable."""
    quoted = [(name, url.replace("\\", "\\\\").replace('"', '\\"')) for name, url in access.doors.items()]
    return "".join(f'[[index]]\nname = "{name}"\nurl = "{url}"\nexplicit = true\n' for name, url in quoted)


class Call:
    """Calls of uv for one build."""

    def __init__(self, work: Work, access: Access, folder: Path) -> None:
        self.work, self.access, self.folder = work, access, folder
        self.progress = _Progress(work.reporter, access, len(work.lock.packages))

    def uv(self, *words: str) -> Finished:
        """Run uv with these arguments."""
        try:
            common = ("--config-file", str(self.folder / _CONFIG), "--no-python-downloads", "--color", "never")
            command = [program(), *words, *common]
            return run(command, env=self.access.env, cwd=self.folder, heard=self.progress.heard, inherit=(self.work.claim,))
        except OSError as error:
            from lading.environments.failures import not_started  # noqa: PLC0415 -- only on the way out

            raise LadingError(not_started(error)) from error

    def sync(self, place: Path) -> None:
        """Install the lock's packages, and nothing else."""
        self._install("sync", "--allow-empty-requirements", "--python", str(place / "bin" / "python"), str(self.folder / LOCK_FILE))

    def add(self, place: Path) -> None:
        """Install the lock's packages beside those that are there."""
        python = str(place / "bin" / "python")
        self._install("install", "--break-system-packages", "--python", python, "-r", str(self.folder / LOCK_FILE))

    def _install(self, verb: str, *rest: str) -> None:
        """From the cache, then with the network if need be and allowed."""
        words = ["pip", verb, "--preview-features", "pylock", *rest, *_options(self.work)]
        finished = self.uv(*words, "--offline")
        if finished.returncode and not self.work.offline and _worth_a_try(finished.stderr):
            finished = self.uv(*words)
        self.check(finished)
        self.progress.end()

    def check(self, finished: Finished) -> None:
        """End here if uv has failed.

        Raises:
            LadingError: with what uv said, explained.
        """
        if finished.returncode:
            from lading.environments.failures import explain_build  # noqa: PLC0415 -- only on the way out

            raise LadingError(*explain_build(finished, self.work, self.access, self.folder))


def _worth_a_try(stderr: str) -> bool:
    return bool(_NEEDS_NETWORK.search(stderr)) or not _FINAL.search(stderr)


def _options(work: Work) -> Iterable[str]:
    options = work.plan.options
    settings = [
        f"{package['name']}:{name}={value}"
        for package in work.lock.packages
        for name, value in package.get("tool", {}).get("lading", {}).get("config-settings", {}).items()
    ]
    yield from ("--no-index",) if options.no_index else ()
    for flag, values in (
        ("--no-binary", options.no_binary),
        ("--only-binary", options.only_binary),
        ("--allow-insecure-host", options.trusted_hosts),
        ("--config-settings-package", settings),
        # uv takes a folder for unchanged while the files that describe it are; we know better.
        ("--reinstall-package", [str(package["name"]) for package in local_packages(work.lock)]),
    ):
        for value in values:
            yield from (flag, value)


class _Progress:
    """uv's lines as events. uv tells of large downloads one by one, and of the rest by number at the end."""

    def __init__(self, reporter: Reporter, access: Access, total: int) -> None:
        self.reporter, self.redact, self.total = reporter, access.redact, total
        self.asked = self.had = 0

    def heard(self, line: str) -> None:
        words = self.redact(line.strip())
        if words.startswith("Downloading "):
            if not self.asked:
                self.reporter(Event(step=DOWNLOADING, phase=Phase.STARTED))
            self.asked += 1
            self._downloading(words.removeprefix("Downloading "))
        elif words.startswith("Downloaded "):
            self.had += 1
            self._downloading(words.removeprefix("Downloaded "))
        elif words.startswith(("Building ", "Built ", "Updating ", "Updated ")):
            self.reporter(Event(step=STEP, phase=Phase.OUTPUT, message=words))
        elif found := _PREPARED.match(words):
            self._counted(words, int(found[1]))

    def _downloading(self, message: str) -> None:
        self.reporter(
            Event(step=DOWNLOADING, phase=Phase.PROGRESS, message=message, done=self.had, total=self.asked, unit="packages"),
        )

    def _counted(self, words: str, number: int) -> None:
        done = number if words.startswith("Installed") else 0
        self.reporter(Event(step=STEP, phase=Phase.PROGRESS, message=words, done=done, total=max(self.total, number), unit="packages"))

    def end(self) -> None:
        if self.asked:
            message = counted(self.asked, "large file")
            self.reporter(
                Event(step=DOWNLOADING, phase=Phase.FINISHED, message=message, done=self.had, total=self.asked, unit="packages"),
            )
