"""Resolving with py-rattler: conda's part of a plan in, conda's part of a lock out.

Only channels' indexes are read; no package is downloaded. The target's virtual packages decide, not this machine's, so that a lock for a
GPU can be made without one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lading.explain.text import count as counted
from lading.model.conda import ChannelUrl, CondaLock, CondaPackage, CondaPlan, CondaText, MatchSpec
from lading.model.decisions import Decision
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.problems import LadingError, ProblemCollector
from lading.model.records import dataclass, replace
from lading.resolvers.conda_client import Caches, client, gateway, require_rattler, unreachable
from lading.resolvers.conda_decisions import build_dropped, no_python, no_such_file, not_here, relaxed
from lading.resolvers.conda_names import provided
from lading.resolvers.conda_unsolved import missing, unsolved

if TYPE_CHECKING:
    from rattler import Gateway, RepoDataRecord

STEP = "Resolving conda packages"
_REQUESTS = 5
"""Reading an index takes some requests, for each of which conda's patience may be used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaOptions:
    """How to solve.

    ``offline``: from the cache alone. ``previous``: a lock whose packages are kept where they still fit. ``upgrade``: do not keep them, or
    not these. ``constraints`` are further conditions on packages (name and conda version expression) that bring none in by themselves.
    ``as_of`` is the moment (RFC 3339) after which nothing that was built counts.
    """

    caches: Caches
    offline: bool = False
    previous: CondaLock | None = None
    upgrade: bool | frozenset[str] = False
    constraints: tuple[tuple[str, str], ...] = ()
    as_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Conda's part of a lock, what was decided on the way, and for each package the line of the user that led to it."""

    lock: CondaLock
    decisions: tuple[Decision, ...]
    lines: Mapping[str, MatchSpec]


def solve(plan: Plan, root: Path, options: CondaOptions, reporter: Reporter = silent) -> Solution:
    """Choose every conda package for the plan's target, with hashes.

    Raises:
        LadingError: if py-rattler is not installed, a channel does not answer, a package does not exist, or there is no solution; exit
            codes 2, 5, 3 and 3.
    """
    conda = plan.conda
    assert conda is not None
    require_rattler(conda.specs[0].origin if conda.specs else None)
    count = len(conda.specs)
    message = f"{counted(count, 'specification')} for {conda.platform}"
    reporter(Event(step=STEP, phase=Phase.STARTED, message=message))
    try:
        solution = asyncio.run(_Session(plan, conda, root, options, reporter).solution())
    except BaseException:
        reporter(Event(step=STEP, phase=Phase.FAILED))
        raise
    total = len(solution.lock.packages)
    packages = counted(total, "package")
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=packages, done=total, total=total, unit="packages"))
    return solution


def reach(plan: Plan, root: Path, options: CondaOptions) -> None:
    """Make sure that py-rattler is here and that every channel of the plan answers; when offline, that is not asked.

    Raises:
        LadingError: if py-rattler is not installed, else with every channel that does not answer.
    """
    conda = plan.conda
    assert conda is not None
    require_rattler(conda.specs[0].origin if conda.specs else None)
    if not options.offline:
        asyncio.run(_Session(plan, conda, root, options, silent).reach())


class _Session:
    """The questions to channels and the solver that one lock takes."""

    def __init__(self, plan: Plan, conda: CondaPlan, root: Path, options: CondaOptions, reporter: Reporter) -> None:
        self.plan, self.conda, self.root, self.options, self.reporter = plan, conda, root.resolve(), options, reporter
        self.here = "file://" + quote(self.root.as_posix()) + "/"
        self.platforms = [conda.platform, "noarch"]
        self.specs = conda.specs if conda.names_python or conda.explicit else (*conda.specs, _python(conda))
        self.channels = list(dict.fromkeys(channel.without_credentials() for channel in _all_channels(conda)))
        self.gateway: Gateway = gateway(client(conda), options.caches, offline=options.offline)
        self.priority = conda.priority
        self.decisions: list[Decision] = []

    async def solution(self) -> Solution:
        if self.conda.explicit:
            packages = [await self._explicit(spec) for spec in self.specs]
        else:
            await self.reach()
            packages = [self._package(record) for record in await self._solved()]
        packages.sort(key=lambda package: package.name)
        python = next((package for package in packages if package.name == "python"), None)
        if python is None:
            raise LadingError(no_python(self.conda, self.specs))
        lock = CondaLock(
            platform=self.conda.platform,
            python=python.version,
            channels=tuple(self._relative(channel) for channel in self.channels),
            virtual=self.conda.virtual,
            packages=tuple(packages),
        )
        return Solution(lock=lock, decisions=tuple(self.decisions), lines=_lines(self.specs, packages))

    async def reach(self) -> None:
        """Have every channel's index read, all at the same time, before anything is asked of them.

        Raises:
            LadingError: with every channel that does not answer.
        """
        from rattler.exceptions import GatewayError  # noqa: PLC0415 -- an optional part

        problems = ProblemCollector()
        waiting = list(self.channels)
        patience = _REQUESTS * self.conda.network.patience  # it is not told how far py-rattler is

        async def read(channel: str) -> None:
            try:
                # No package has this name: the index is read, and no record of it is made into an object.
                asked = self.gateway.query([channel], self.platforms, ["_"], recursive=False)  # type: ignore[arg-type] # platforms are texts
                await asyncio.wait_for(asked, patience)
            except (GatewayError, TimeoutError) as error:
                problems.add(unreachable(channel, error, self._channel_origin(channel), offline=self.options.offline))
            waiting.remove(channel)
            self._tell_of_channels(f"{ChannelUrl(channel)} is read", waiting)

        self._tell_of_channels("", waiting)
        await asyncio.gather(*map(read, self.channels))
        problems.raise_if_any()

    def _tell_of_channels(self, message: str, waiting: list[str]) -> None:
        """How many channels are read; the one that the others wait for is named at last."""
        total = len(self.channels)
        if len(waiting) == 1:
            message = f"reading {ChannelUrl(waiting[0])}"
        self.reporter(Event(step=STEP, phase=Phase.PROGRESS, message=message, done=total - len(waiting), total=total, unit="channels"))

    async def _without_absent(self) -> tuple[MatchSpec, ...] | None:
        """The specifications without those of a frozen list whose names no channel has here; None when every name is there.

        Asked when there is no solution: all names of a large channel take longer than solving.

        Raises:
            LadingError: with every other name that no channel has.
        """
        problems, names = ProblemCollector(), {}
        for channel in self.channels:
            found = await self.gateway.names([channel], self.platforms)  # type: ignore[arg-type] # names of platforms are texts
            names[channel] = {name.normalized for name in found}
        absent = []
        for spec in self.specs:
            where = [spec.channel.without_credentials()] if spec.channel else self.channels
            if any(spec.name in names[channel] for channel in where):
                continue
            absent.append(spec)
            if not (spec.frozen and self.conda.frozen_on):
                known = {name for channel in where for name in names[channel]}
                problems.add(missing(spec, where, known, pip=any(one.name == spec.name for one in self.plan.requirements)))
        problems.raise_if_any()
        if not absent:
            return None
        self.decisions.append(not_here(absent, self.conda))
        return tuple(spec for spec in self.specs if spec not in absent)

    def _channel_origin(self, channel: str) -> Origin | None:
        own = [one.origin for one in self.conda.channels if one.origin and one.without_credentials() == channel]
        own += [spec.origin for spec in self.specs if spec.channel and spec.channel.without_credentials() == channel]
        first = [spec.origin.path for spec in self.specs]
        return own[0] if own else Origin(first[0]) if first else None

    async def _solved(self) -> list[RepoDataRecord]:
        from rattler.exceptions import GatewayError, SolverError  # noqa: PLC0415 -- as above

        try:
            return await self._solve(self.specs)
        except GatewayError as error:
            channel = next((one for one in self.channels if one in str(error)), self.channels[0])
            raise LadingError(unreachable(channel, error, self._channel_origin(channel), offline=self.options.offline)) from error
        except SolverError as error:
            present = await self._without_absent()
            if present is not None:
                self.specs = present
                return await self._solved()
            if self.priority == "flexible" and "strict channel priority" in str(error):
                self.priority = "disabled"
                self.decisions.append(relaxed(self.channels, self.conda))
                return await self._solved()
            loosened = await self._without_foreign_builds()
            if loosened is not None:
                self.specs = loosened
                return await self._solved()
            raise LadingError(unsolved(str(error), self.specs, self.plan, await self._versions(str(error)))) from None

    async def _solve(self, specs: tuple[MatchSpec, ...]) -> list[RepoDataRecord]:
        import rattler  # noqa: PLC0415 -- as above

        kept = [] if self.options.upgrade is True else _kept(self.options, self.conda.platform, self.root)
        priority = rattler.ChannelPriority.Disabled if self.priority == "disabled" else rattler.ChannelPriority.Strict
        return await rattler.solve(
            self.channels,
            [_match_spec(spec) for spec in specs],
            gateway=self.gateway,
            platforms=self.platforms,  # type: ignore[arg-type] # names of platforms are texts
            virtual_packages=[_virtual(one) for one in self.conda.virtual],
            locked_packages=kept,
            channel_priority=priority,
            exclude_newer=datetime.fromisoformat(self.options.as_of) if self.options.as_of else None,
            timestamp_policy="allow-missing",
            constraints=[rattler.MatchSpec(f"{name} {version}", strict=False) for name, version in self.options.constraints],
        )

    async def _records(self, names: Iterable[str]) -> dict[str, list[RepoDataRecord]]:
        found: dict[str, list[RepoDataRecord]] = {name: [] for name in names}
        if found:
            answer = await self.gateway.query(self.channels, self.platforms, list(found), recursive=False)  # type: ignore[arg-type]
            for record in (record for records in answer for record in records):
                found.setdefault(record.name.normalized, []).append(record)
        return found

    async def _without_foreign_builds(self) -> tuple[MatchSpec, ...] | None:
        """The specifications without frozen builds that no channel has here though it has the version; None when there are none."""
        frozen = [spec for spec in self.specs if spec.frozen and spec.build and "*" not in spec.build]
        records = await self._records(spec.name for spec in frozen)
        foreign = {spec for spec in frozen if _only_other_builds(spec, records[spec.name])}
        if not foreign:
            return None
        for spec in foreign:
            self.decisions.append(build_dropped(spec, _other_builds(spec, records[spec.name]), self.conda.platform))
        return tuple(spec.without_build() if spec in foreign else spec for spec in self.specs)

    async def _versions(self, text: str) -> dict[str, list[str]]:
        """Which versions there are of the packages that a solver's explanation finds no candidates of."""
        named = [spec.name for spec in self.specs if f"No candidates were found for {spec.name} " in text]
        records = await self._records(named)
        return {name: [str(version) for version in sorted({record.version for record in found})] for name, found in records.items()}

    async def _explicit(self, spec: MatchSpec) -> CondaPackage:
        """A package by its file. A list may leave out hashes; the channel's index tells them then."""
        assert spec.url is not None
        url = spec.url.without_credentials()
        channel = url.rsplit("/", 2)[0]
        package = CondaPackage(
            name=spec.name,
            version=spec.version.removeprefix("=="),
            build=spec.build,
            build_number=_trailing_number(spec.build),
            subdir=spec.subdir,
            url=self._relative(url),
            channel=self._relative(channel),
            md5=spec.md5,
            sha256=spec.sha256,
            provides=provided(spec.name, spec.version.removeprefix("=="), ["python"] if _looks_like_python(spec) else []),
        )
        return package if spec.md5 or spec.sha256 else await self._from_index(spec, channel, url)

    async def _from_index(self, spec: MatchSpec, channel: str, url: str) -> CondaPackage:
        from rattler.exceptions import GatewayError  # noqa: PLC0415 -- as above

        try:
            answer = await self.gateway.query([channel], [spec.subdir], [spec.name], recursive=False)  # type: ignore[list-item]
        except GatewayError as error:
            raise LadingError(unreachable(channel, error, spec.origin, offline=self.options.offline)) from error
        for record in (record for records in answer for record in records):
            if record.url == url:
                return self._package(record)
        raise LadingError(no_such_file(spec))

    def _package(self, record: RepoDataRecord) -> CondaPackage:
        data: Mapping[str, Any] = json.loads(record.to_json())
        depends = tuple(data.get("depends", ()))
        return CondaPackage(
            name=data["name"],
            version=data["version"],
            build=data["build"],
            build_number=data.get("build_number", 0),
            subdir=data["subdir"],
            url=self._relative(_bare(data["url"])),
            channel=self._relative(_bare(str(data.get("channel") or "").rstrip("/"))),
            sha256=data.get("sha256") or "",
            md5=data.get("md5") or "",
            size=data.get("size") or 0,
            noarch=data.get("noarch") or "",
            depends=depends,
            constrains=tuple(data.get("constrains", ())),
            site_packages=data.get("python_site_packages_path") or "",
            provides=provided(data["name"], data["version"], depends, data.get("purls")),
        )

    def _relative(self, url: str) -> str:
        """A place inside the project as a relative path: a lock travels with it."""
        return f"./{url.removeprefix(self.here)}" if url.startswith(self.here) else url


def _bare(url: str) -> str:
    """A URL without credentials, which a record has none of unless a channel's index put them there."""
    return ChannelUrl(url).without_credentials() if "@" in url or "/t/" in url else url


def _python(conda: CondaPlan) -> MatchSpec:
    """Python itself, which every prefix needs, where the list leaves it to the project."""
    origin = conda.python_origin or Origin("python")
    return MatchSpec(raw=CondaText(f"python {conda.python}".strip()), origin=origin, name="python", version=conda.python)


def _all_channels(conda: CondaPlan) -> list[ChannelUrl]:
    """The plan's channels, then those that single packages name."""
    return [*conda.channels, *(spec.channel for spec in conda.specs if spec.channel is not None)]


def _match_spec(spec: MatchSpec) -> Any:
    import rattler  # noqa: PLC0415 -- as above

    channel = f'[channel="{spec.channel.without_credentials()}"]' if spec.channel else ""
    if channel and spec.match.endswith("]"):
        return rattler.MatchSpec(spec.match[:-1] + "," + channel[1:], strict=False)
    return rattler.MatchSpec(spec.match + channel, strict=False)


def _virtual(text: str) -> Any:
    import rattler  # noqa: PLC0415 -- as above

    name, version, build = text.split("=")
    return rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build))


def _kept(options: CondaOptions, platform: str, root: Path) -> list[RepoDataRecord]:
    forgotten = options.upgrade if isinstance(options.upgrade, frozenset) else frozenset()
    packages = options.previous.packages if options.previous and options.previous.platform == platform else ()
    return [record_of(package, root) for package in packages if package.name not in forgotten]


def record_of(package: CondaPackage, root: Path) -> RepoDataRecord:
    """A locked package as py-rattler takes it; ``root`` is where relative places of the lock start."""
    import rattler  # noqa: PLC0415 -- as above

    url = package.url if "://" in package.url else "file://" + quote((root.resolve() / package.url).as_posix())
    channel = url.rsplit("/", 2)[0]
    record = rattler.PackageRecord(
        package.name,
        package.version,
        rattler.BuildString.new_unchecked(package.build),
        package.build_number,
        package.subdir,
        noarch=package.noarch or None,  # type: ignore[arg-type] # as above
        depends=list(package.depends),
        constrains=list(package.constrains),
        sha256=bytes.fromhex(package.sha256) or None,
        md5=bytes.fromhex(package.md5) or None,
        size=package.size or None,
        python_site_packages_path=package.site_packages or None,
    )
    return rattler.RepoDataRecord(record, package.file_name, url, channel)


def _lines(specs: tuple[MatchSpec, ...], packages: Iterable[CondaPackage]) -> dict[str, MatchSpec]:
    """For each package the user's line that asks for it, or that something it needs is needed by."""
    by_name = {package.name: package for package in packages}
    lines = {spec.name: spec for spec in reversed(specs)}
    found: dict[str, MatchSpec] = {}
    waiting = [(name, spec) for name, spec in lines.items() if name in by_name]
    while waiting:
        name, spec = waiting.pop(0)
        if name not in found and name in by_name:
            found[name] = lines.get(name, spec)
            waiting += [(one.split()[0], spec) for one in by_name[name].depends if one.split()]
    return found


def _other_builds(spec: MatchSpec, records: Iterable[RepoDataRecord]) -> list[str]:
    """The builds of the version that a specification asks for."""
    any_build = _match_spec(replace(spec.without_build(), channel=None))
    return sorted({str(record.build) for record in records if any_build.matches(record)})


def _only_other_builds(spec: MatchSpec, records: Iterable[RepoDataRecord]) -> bool:
    builds = _other_builds(spec, records)
    return bool(builds) and spec.build not in builds


def _trailing_number(build: str) -> int:
    tail = build.rpartition("_")[2]
    return int(tail) if tail.isdigit() and len(tail) < 6 else 0


def _looks_like_python(spec: MatchSpec) -> bool:
    """An explicit list does not say what a package needs; builds for one Python carry it in their name, and `noarch` ones mostly are."""
    return spec.build.startswith("py") or "py3" in spec.build or spec.subdir == "noarch"
