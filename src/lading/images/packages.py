"""What a lock's packages are for a target: for each the wheel that fits, or what it has to be built from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from lading.frameworks.tags import ordered_tags
from lading.model.lock import Lock
from lading.model.markers import marker_environment
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, replace
from lading.model.target import Target

SOURCES = ("vcs", "directory", "archive", "sdist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of the lock: a file of kind ``wheel``, or what a wheel is built from (``sdist``, ``archive``, ``vcs``, ``directory``).

    ``file`` is the lock's own record of it, ``settings`` what its build backend is told.
    """

    name: str
    version: str | None
    kind: str
    file: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def place(self) -> str:
        """The file's URL, or its path relative to the project."""
        return str(self.file.get("url") or self.file.get("path") or "")

    @property
    def filename(self) -> str:
        """The file's name."""
        return str(self.file.get("name") or self.place.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2]).replace(
            "%2B", "+"
        )

    @property
    def anywhere(self) -> Package:
        """Without where this machine has it from: the same wheel of another index is the same package."""
        return replace(self, file={"name": self.filename, "hashes": {"sha256": self.sha256} if self.sha256 else {}})

    @property
    def sha256(self) -> str | None:
        """The hash that the lock has for the file."""
        value = (self.file.get("hashes") or {}).get("sha256")
        return str(value) if value else None

    @property
    def direct_url(self) -> bytes | None:
        """``direct_url.json`` (PEP 610) for what was required by URL; without credentials, which the lock does not hold either."""
        record: dict[str, Any] = {"url": self.place}
        if self.kind == "vcs":
            record["vcs_info"] = {"vcs": self.file.get("type", "git"), "commit_id": self.file.get("commit-id", "")}
        elif self.kind == "archive" and self.sha256:
            record["archive_info"] = {"hashes": {"sha256": self.sha256}}
        else:
            return None
        if self.file.get("subdirectory"):
            record["subdirectory"] = self.file["subdirectory"]
        return json.dumps(record, sort_keys=True).encode()


def choose_packages(lock: Lock, target: Target, no_binary: Iterable[str], lock_path: str) -> tuple[Package, ...]:
    """The packages that the target needs, sorted by name.

    Raises:
        LadingError: with every package that has neither a wheel that fits nor a source.
    """
    environment = marker_environment(target)
    order = {tag: number for number, tag in enumerate(ordered_tags(target.python, target.platform))}
    forced = frozenset(no_binary)
    problems = ProblemCollector()
    found = []
    for record in sorted(lock.packages, key=lambda one: str(one["name"])):
        if not _applies(record.get("marker"), environment):
            continue
        with problems.catching():
            found.append(_choose(record, order, forced, target, lock_path))
    problems.raise_if_any()
    return tuple(found)


def _applies(marker: Any, environment: Mapping[str, str]) -> bool:
    if not marker:
        return True
    try:
        return Marker(str(marker)).evaluate(dict(environment), context="lock_file")
    except InvalidMarker:
        return True


def _choose(record: Mapping[str, Any], order: Mapping[Any, int], forced: frozenset[str], target: Target, lock_path: str) -> Package:
    name, version = str(record["name"]), record.get("version")
    settings = record.get("tool", {}).get("lading", {}).get("config-settings", {})
    wheels = (
        []
        if forced & {name, ":all:"}
        else [(rank, wheel) for wheel in record.get("wheels", ()) if (rank := _rank(wheel, order)) is not None]
    )
    if wheels:
        best = min(wheels, key=lambda one: one[0])[1]
        return Package(name=name, version=version, kind="wheel", file=best, settings=settings)
    for kind in SOURCES:
        if kind in record:
            built = kind != "archive" or not Package(
                name=name, version=version, kind=kind, file=record[kind], settings={}
            ).filename.endswith(".whl")
            return Package(name=name, version=version, kind=kind if built else "archive", file=record[kind], settings=settings)
    raise LadingError(_no_file(name, version, target, lock_path))


def _rank(wheel: Mapping[str, Any], order: Mapping[Any, int]) -> tuple[int, tuple[int, str]] | None:
    filename = Package(name="", version=None, kind="wheel", file=wheel, settings={}).filename
    try:
        _, _, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    ranks = [order[tag] for tag in tags if tag in order]
    return (min(ranks), (-build[0], build[1]) if build else (0, "")) if ranks else None


def fits(filename: str, target: Target) -> bool:
    """Whether a wheel runs on the target, by its name."""
    order = dict.fromkeys(ordered_tags(target.python, target.platform), 0)
    return _rank({"name": filename}, order) is not None


def _no_file(name: str, version: Any, target: Target, lock_path: str) -> Problem:
    return Problem(
        rule="wheel-does-not-fit",
        what=f"The lock has no file of {name} {version or ''} that fits Python {target.python} on {target.platform}.".replace("  ", " "),
        origin=Origin(lock_path),
        why="An image is made from wheels, or from sources that can be built into one.",
        instead="Run `lading lock` for this platform, or choose a version that has a wheel for it.",
        code=ExitCode.RESOLUTION,
    )
