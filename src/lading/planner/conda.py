"""Conda's part of the plan: which channels count, which lines hold on the target, which virtual packages the target has."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from packaging.specifiers import SpecifierSet

from lading.formats.condarc import Condarc, read_all, search_path
from lading.frameworks.labels import cuda_version
from lading.model.conda import UNVERIFIED, ChannelUrl, CondaDependencies, CondaPlan, MatchSpec, Network, conda_platform
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles, content_hash
from lading.model.origin import Origin
from lading.model.plan import Plan, Role, Source
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, replace
from lading.model.target import PythonRequest, Target
from lading.planner.python import PythonChoice

PYTHON_RULE = "python-by-conda"
_NEWEST = 13
ALIAS = "https://conda.anaconda.org"
FORGE = "conda-forge"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_BUILT_IN = {"pkgs/main": "https://repo.anaconda.com", "pkgs/r": "https://repo.anaconda.com", "pkgs/msys2": "https://repo.anaconda.com"}
_PROJECT_CONDARC = (".condarc", "condarc")
_OVERRIDES = {
    "__cuda": "CONDA_OVERRIDE_CUDA",
    "__glibc": "CONDA_OVERRIDE_GLIBC",
    "__linux": "CONDA_OVERRIDE_LINUX",
    "__osx": "CONDA_OVERRIDE_OSX",
}
_LINUX = "5.10"  # the kernel of the oldest systems that are still cared for; packages ask for much older ones
_MACOS = "11.0"


@dataclass(frozen=True, slots=True)
class _Channels:
    """Channels as URLs; the first ``declared`` of them are the project's."""

    urls: tuple[ChannelUrl, ...]
    declared: int
    decisions: tuple[Decision, ...]


def complete(
    conda: CondaDependencies,
    target: Target,
    files: ProjectFiles,
    environ: Mapping[str, str],
    *,
    path: str,
    python: PythonRequest | None = None,
) -> tuple[CondaPlan, tuple[Decision, ...]]:
    """Complete a declaration's conda part for the target.

    Args:
        conda: What is declared.
        target: Whom it is for.
        files: The project, and conda's configuration files.
        environ: The variables of this machine.
        path: The file that declares it.
        python: Which Python the project asks for beside the list; the list itself has the last word.

    Raises:
        LadingError: if conda has no name for the target's platform, or nothing in the list holds on it.
    """
    platform = conda_platform(target.platform)
    if platform is None:
        raise LadingError(_no_platform(target, path))
    own, machine = read_all(_PROJECT_CONDARC, files, environ), read_all(search_path(environ), files, environ)
    both = own.over(machine)
    channels = _channels(conda, own, machine, path)
    specs, decisions = _for_platform(conda, platform, path)
    plan = CondaPlan(
        platform=platform,
        specs=tuple(replace(spec, channel=_resolved(spec.channel, both, files)) for spec in specs),
        channels=tuple(dict.fromkeys(url for channel in channels.urls for url in _expanded(channel, both, files))),
        asked=tuple(
            [channel.without_credentials() for channel in channels.urls[: channels.declared]] + [spec.text_of_facts() for spec in specs]
        ),
        priority=conda.priority or both.priority or "flexible",
        virtual=virtual_packages(target, environ),
        python="" if python is None or any(spec.name == "python" for spec in specs) else python.specifier,
        python_origin=python.origin if python else None,
        mirrors=tuple(_mirrors(both, files)),
        network=_network(both),
        variables=conda.variables,
        explicit=conda.explicit,
        frozen_on=conda.platform if conda.platform not in (None, platform, "noarch") else None,
    )
    return plan, (*channels.decisions, *decisions, *_unverified(both), *_ignored_keys(both))


def expected_python(specifier: str) -> str:
    """A version of Python that conda may bring, to plan with until it is solved: the newest that packages are built for."""
    allowed = SpecifierSet(specifier)
    for minor in (*range(_NEWEST, 5, -1), *range(_NEWEST + 1, 30)):
        for patch in range(40):
            if allowed.contains(f"3.{minor}.{patch}", prereleases=True):
                return f"3.{minor}.{patch}"
    return f"3.{_NEWEST}.0"


def refuse_path(choice: PythonChoice) -> None:
    """Conda brings the interpreter, so none of this machine can be used in its place.

    Raises:
        LadingError: if the user named one by its path.
    """
    if choice.path is None:
        return
    raise LadingError(
        Problem(
            rule="conda-python-path",
            what="The project's Python comes from conda, and --python (or UV_PYTHON) names an interpreter of this machine.",
            origin=Origin("--python"),
            why="Conda's packages are made for the Python that conda installs with them.",
            instead="Name a version, as --python 3.11, or leave it out.",
        )
    )


def python_decision(choice: PythonChoice, version: str | None) -> Decision:
    """The record of the interpreter that conda brings; ``version`` is None until it is solved."""
    asked = choice.request.specifier or choice.request.text
    return Decision(
        rule=PYTHON_RULE,
        kind=Kind.CHOSEN,
        subject="python",
        asked=choice.request.text.strip() if asked else "no version of Python",
        chose=f"Python {version}, by conda" if version else "the Python that conda brings",
        because=f"{choice.request.origin} asks for it"
        if asked
        else "nothing in the project asks for one; conda takes the newest that fits",
        origin=choice.request.origin if asked else None,
        instead="python=3.X among the conda packages",
    )


def with_python(plan: Plan, version: str) -> Plan:
    """The plan for the Python that conda brings, where that differs in its patch version alone."""
    decisions = tuple(
        replace(decision, chose=f"Python {version}, by conda") if decision.rule == PYTHON_RULE else decision for decision in plan.decisions
    )
    return replace(plan, target=replace(plan.target, python=version), decisions=decisions)


def _no_platform(target: Target, path: str) -> Problem:
    return Problem(
        rule="conda-platform-unknown",
        what=f"Lading installs no conda packages on {target.platform}.",
        origin=Origin(path),
        why="It does on linux-64, linux-aarch64, linux-ppc64le, osx-64 and osx-arm64.",
        instead="Lock for one of those platforms.",
        code=ExitCode.RESOLUTION,
    )


def configuration_sources(files: ProjectFiles, environ: Mapping[str, str]) -> tuple[Source, ...]:
    """The project's own conda configuration, as a file that counts."""
    paths = read_all(_PROJECT_CONDARC, files, environ).paths
    because = "it configures conda's channels"
    return tuple(
        Source(path=path, role=Role.USED, format="conda's configuration", because=because, sha256=content_hash(files.read(path) or b""))
        for path in paths
    )


def _channels(conda: CondaDependencies, own: Condarc, machine: Condarc, path: str) -> _Channels:
    """The file's channels, the project's, then the machine's; conda-forge where nobody names one."""
    if conda.explicit:
        return _Channels(conda.channels, len(conda.channels), ())
    declared = tuple(dict.fromkeys((*conda.channels, *own.channels)))
    added = tuple(channel for channel in machine.channels if channel not in declared) if not conda.alone else ()
    decisions = [_from_machine(added, declared, machine)] if added else []
    if not declared and not added:
        return _Channels((ChannelUrl(FORGE),), 1, (_forge(path, conda.alone),))
    if not conda.channels and not declared:
        # Cortex appends conda-forge to what the machine has configured.
        added = tuple(dict.fromkeys((*added, ChannelUrl(FORGE))))
    return _Channels((*declared, *added), len(declared), tuple(decisions))


def _forge(path: str, alone: bool) -> Decision:  # noqa: FBT001 -- one caller, one meaning
    because = "nodefaults leaves none" if alone else f"{path} names no channel"
    return Decision(
        rule="conda-channel-chosen",
        kind=Kind.CHOSEN,
        subject="channels",
        asked=because,
        chose=FORGE,
        because="it is the channel that Cortex added, and it is free for everyone; `defaults` asks organisations for a licence",
        origin=Origin(path),
        instead="channels: in an environment.yml, channels: in a .condarc, or CHANNEL::PACKAGE",
    )


def _from_machine(added: Iterable[ChannelUrl], declared: Iterable[ChannelUrl], machine: Condarc) -> Decision:
    names = ", ".join(map(str, added))
    return Decision(
        rule="conda-channels-from-condarc",
        kind=Kind.CHOSEN,
        subject="channels",
        asked=", ".join(map(str, declared)) or "no channel",
        chose=f"then {names}" if declared else names,
        because=f"{', '.join(_shortened(path) for path in machine.paths)} on this machine adds them, as it does for conda",
        instead="- nodefaults below channels: in environment.yml",
    )


def _shortened(path: str) -> str:
    """A configuration file without the user's home, which is nobody's business."""
    return re.sub(r"^(/home/[^/]+|/Users/[^/]+|/root)/", "~/", path) if path.startswith("/") else path


def _expanded(channel: ChannelUrl, condarc: Condarc, files: ProjectFiles) -> tuple[ChannelUrl, ...]:
    """A channel as URLs: ``defaults`` and the configuration's names for several stand for more than one."""
    name = channel.reveal()
    if name == "defaults":
        several = condarc.defaults or tuple(ChannelUrl(url) for url in _DEFAULTS)
    elif name in condarc.multichannels:
        several = condarc.multichannels[name]
    else:
        found = _resolved(channel, condarc, files)
        return (found.named_by(channel.origin),) if found else ()
    return tuple(url.named_by(channel.origin) for one in several if (url := _resolved(one, condarc, files)) is not None)


def _resolved(channel: ChannelUrl | None, condarc: Condarc, files: ProjectFiles) -> ChannelUrl | None:
    """A channel's URL, as conda makes it from a name: a custom channel, a folder, or a name below the alias."""
    if channel is None:
        return None
    name = channel.reveal().rstrip("/")
    if "://" in name:
        return ChannelUrl(name, channel.variables)
    if name.startswith(("/", "./", "../")):
        root = str(getattr(files, "root", "/"))
        return ChannelUrl("file://" + quote(posixpath.normpath(posixpath.join(root, name))))
    first = name.partition("/")[0]
    for key in (name, first):
        if key in condarc.custom:
            return ChannelUrl(f"{condarc.custom[key].reveal().rstrip('/')}/{name}", condarc.custom[key].variables)
    if name in _BUILT_IN:
        return ChannelUrl(f"{_BUILT_IN[name]}/{name}")
    alias = condarc.alias.reveal().rstrip("/") if condarc.alias else ALIAS
    variables = (*channel.variables, *(condarc.alias.variables if condarc.alias else ()))
    return ChannelUrl(f"{alias}/{name}", variables)


def _mirrors(condarc: Condarc, files: ProjectFiles) -> Iterable[tuple[str, ChannelUrl]]:
    for name, places in condarc.mirrors.items():
        channel = _resolved(ChannelUrl(name), condarc, files)
        for place in places:
            if channel is not None:
                yield channel.without_credentials(), place


def _for_platform(conda: CondaDependencies, platform: str, path: str) -> tuple[tuple[MatchSpec, ...], tuple[Decision, ...]]:
    """The lines that hold on the platform. Builds of a list that was frozen on another one mean nothing here."""
    specs = tuple(spec for spec in conda.specs if spec.platform in ("", platform))
    if conda.specs and not specs:
        raise LadingError(_nothing_for(platform, conda, path))
    if conda.explicit:
        foreign = [spec for spec in specs if spec.subdir not in ("", "noarch", platform)]
        if foreign:
            raise LadingError(_foreign_files(platform, foreign[0]))
        return specs, ()
    if conda.platform in (None, platform, "noarch"):
        return specs, ()
    frozen = [spec for spec in specs if spec.build and "*" not in spec.build]
    loosened = tuple(spec.without_build() if spec in frozen else spec for spec in specs)
    return loosened, (_builds_dropped(frozen, conda, platform),) if frozen else ()


def _nothing_for(platform: str, conda: CondaDependencies, path: str) -> Problem:
    others = ", ".join(sorted({spec.platform for spec in conda.specs}))
    return Problem(
        rule="conda-platform-not-locked",
        what=f"{path} holds packages for {others}, and none for {platform}.",
        origin=Origin(path),
        instead=f"Add {platform} to its platforms and lock it again, or remove the file so that its source counts.",
        code=ExitCode.RESOLUTION,
    )


def _foreign_files(platform: str, spec: MatchSpec) -> Problem:
    return Problem(
        rule="conda-files-of-another-platform",
        what=f"{spec.name} is a file for {spec.subdir}, and the target is {platform}.",
        origin=spec.origin,
        why="After @EXPLICIT nothing is solved, so another platform's files cannot be exchanged.",
        instead="Make the list on the target's platform, or list specifications (`conda list --export`) instead of files.",
        code=ExitCode.RESOLUTION,
    )


def _builds_dropped(frozen: list[MatchSpec], conda: CondaDependencies, platform: str) -> Decision:
    shown = ", ".join(f"{spec.name}={spec.version.lstrip('=')}={spec.build}" for spec in frozen[:3])
    more = f" and {len(frozen) - 3} more" if len(frozen) > 3 else ""
    return Decision(
        rule="conda-builds-dropped",
        kind=Kind.CHOSEN,
        subject="conda",
        asked=f"{shown}{more}",
        chose="the same versions in builds for " + platform,
        because=f"the list was made on {conda.platform}, whose builds do not exist for {platform}",
        origin=frozen[0].origin,
        instead=f"a list that was made on {platform}, or one without builds (NAME=VERSION)",
    )


def _network(condarc: Condarc) -> Network:
    verify = "" if condarc.verify == "yes" else condarc.verify
    usual = Network()
    return Network(
        verify=verify,
        proxies=tuple(condarc.proxies.items()),
        patience=usual.patience if condarc.patience is None else condarc.patience,
        path=", ".join(map(_shortened, condarc.paths)),
    )


def _unverified(condarc: Condarc) -> tuple[Decision, ...]:
    """Channels' certificates are not checked: nobody should have that without knowing."""
    if condarc.verify != UNVERIFIED:
        return ()
    return (
        Decision(
            rule="conda-certificates-not-checked",
            kind=Kind.ADVICE,
            subject="condarc",
            asked="ssl_verify: false",
            chose="the certificates of channels are not checked",
            because="a .condarc says so; whoever stands between may read credentials and answer for a channel",
            instead="ssl_verify: with the path of the certificates to trust",
        ),
    )


def _ignored_keys(condarc: Condarc) -> tuple[Decision, ...]:
    if not condarc.ignored:
        return ()
    return (
        Decision(
            rule="condarc-keys-not-used",
            kind=Kind.ADVICE,
            subject="condarc",
            asked=", ".join(condarc.ignored),
            chose="no effect",
            because="py-rattler, which reaches channels and solves for Lading, has nothing like them",
            instead="no such line, or specifications and channels in the project that say the same",
        ),
    )


def virtual_packages(target: Target, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The target's virtual packages, as conda would find them on a machine of that kind: ``__cuda=12.4=0``, ``__glibc=2.36=0``.

    ``__cuda`` follows the target's accelerator, so a machine without a GPU locks for one. ``CONDA_OVERRIDE_*`` win, as in conda; set to
    nothing, they remove the package.
    """
    machine, _, system = target.platform.partition("-")
    found = {"__unix": "0"}
    if glibc := re.fullmatch(r"manylinux_(\d+)_(\d+)", system):
        found |= {"__glibc": f"{glibc[1]}.{glibc[2]}", "__linux": _LINUX}
    elif system == "apple-darwin":
        found |= {"__osx": _MACOS}
    cuda = cuda_version(target.accelerator)
    found |= {"__cuda": f"{cuda[0]}.{cuda[1]}"} if cuda else {}
    for name, variable in _OVERRIDES.items():
        if variable in environ:
            found[name] = environ[variable].strip()
    listed = [f"{name}={version}=0" for name, version in sorted(found.items()) if version]
    return (*listed, f"__archspec=1={'arm64' if machine == 'aarch64' and 'darwin' in system else machine}")
