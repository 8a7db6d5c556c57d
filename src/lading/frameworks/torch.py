"""torch and the companions that are built with it: one label for the whole family, from PyTorch's own index for that label.

PyTorch publishes a folder per build label (``…/whl/cpu``, ``…/whl/cu118``), each a package index; releases up to 1.10.2 are found by one page of
links. The default registry has one build of each release, for Linux mostly a CUDA one that brings several GB of NVIDIA's libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.version import Version

from lading.frameworks.choice import Choice, Context, applies, exact_version
from lading.frameworks.labels import CPU, best, cuda_version, index_label, label_of_url, spoken
from lading.frameworks.releases import FAMILY, Release, has_unlabelled_default, is_of_links_era, release_of
from lading.frameworks.tables import table
from lading.model.decisions import Decision, Kind
from lading.model.plan import BoundIndex
from lading.model.problems import ExitCode, Problem
from lading.model.requirements import Declared, Via
from lading.model.secrets import SecretUrl

SWITCH = "LADING_TORCH_INDEX"
"""``off``: torch comes from the ordinary indexes. Else the folder under which each build label is an index (a mirror of ``…/whl``)."""

_CHOSEN, _KEPT = "torch-build-chosen", "torch-build-kept"


@dataclass(frozen=True, slots=True)
class _Label:
    """The family's build label, and the half sentence that says why."""

    name: str
    because: str


@dataclass(frozen=True, slots=True)
class _Build:
    """What became of one requirement: how it goes to the resolver, bound to which index, and why. No index: any."""

    requirement: Declared
    decision: Decision
    index: BoundIndex | None


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Give the family its build. Nothing is changed where the user has said where torch comes from, or which build it is."""
    members = tuple(one for one in requirements if one.name in FAMILY and one.via is Via.INDEX and applies(one, context.target))
    reason = _left_alone(context)
    if reason is not None:
        return Choice(requirements=requirements, decisions=tuple(_kept(member, reason) for member in members))
    label = _family_label(members, context)
    if isinstance(label, Problem):
        return Choice(requirements=requirements, problems=(label,))
    builds = {id(member): _build(member, label, context) for member in members}
    return Choice(
        requirements=tuple(builds[id(one)].requirement if id(one) in builds else one for one in requirements),
        bound=_bound(builds.values(), label, context),
        decisions=tuple(build.decision for build in builds.values()),
    )


def _left_alone(context: Context) -> str | None:
    """Why torch is none of our business here; None when it is."""
    options = context.options
    if options.no_index or options.index_url or options.extra_index_urls or options.find_links:
        return "the project names package indexes of its own, so it comes from those, as written"
    if context.environ.get(SWITCH, "").lower() == "off":
        return f"{SWITCH}=off: it comes from the ordinary package index, in the one build that is there"
    if not context.target.platform.partition("-")[2].startswith("manylinux"):
        return "for this platform there is one build of each release"
    return None


def _kept(declared: Declared, because: str) -> Decision:
    return Decision(
        rule=_KEPT,
        kind=Kind.KEPT,
        subject=declared.name or "torch",
        asked=declared.pep508,
        chose=declared.pep508,
        because=because,
        origin=declared.origin,
    )


# The label


def _family_label(members: tuple[Declared, ...], context: Context) -> _Label | Problem:
    """One label for all: the one that a member names, else that of an index on a member's line, else the best for the target."""
    named = [(member, index_label(version.local)) for member in members if (version := exact_version(member)) and version.local]
    if len({label for _, label in named}) > 1:
        return _labels_disagree(named)
    if named:
        return _Label(named[0][1], f"{named[0][0].origin} names the build {named[0][1]}, and the family has one build")
    for member in members:
        place = member.index or member.find_links
        label = label_of_url(place.without_credentials()) if place else None
        if label:
            return _Label(label, f"{member.origin} takes {member.name} from an index of {label} builds, and the family has one build")
    return _best_label(members, context)


def _best_label(members: tuple[Declared, ...], context: Context) -> _Label | Problem:
    accelerator = context.target.accelerator
    if accelerator == CPU:
        return _Label(CPU, "the target has no GPU")
    for member in members:
        version = exact_version(member)
        release = release_of(str(member.name), version) if version else None
        if release is not None:
            found = best(release.labels, accelerator)
            return _no_build(member, release, accelerator) if found is None else _Label(found, _fits(release, found, accelerator))
    return _Label(accelerator, f"the target has {spoken(accelerator)}")


def _fits(release: Release, label: str, accelerator: str) -> str:
    if label == accelerator:
        return f"the target has {spoken(accelerator)}"
    return f"{spoken(label)} is the newest build of torch {release.version} that a target with {spoken(accelerator)} runs"


def _labels_disagree(named: list[tuple[Declared, str]]) -> Problem:
    lines = ", ".join(f"{member.pep508} ({member.origin})" for member, _ in named)
    return Problem(
        rule="torch-labels-disagree",
        what=f"torch and its companions are pinned to different builds: {lines}.",
        origin=named[-1][0].origin,
        why="They are compiled against each other, so builds for different CUDA versions do not load together.",
        instead=f"Give all of them the same label, such as +{named[0][1]}.",
        code=ExitCode.RESOLUTION,
    )


def _no_build(member: Declared, release: Release, accelerator: str) -> Problem:
    return Problem(
        rule="torch-no-build",
        what=f"torch {release.version} has no build for {spoken(accelerator)} or an older CUDA.",
        origin=member.origin,
        why=f"Its builds are {', '.join(release.labels)} (as of {table('torch')['as_of']}).",
        instead="Ask for one of these with --accelerator, for cpu, or pin another release.",
        code=ExitCode.RESOLUTION,
    )


# The build of one requirement


def _build(member: Declared, label: _Label, context: Context) -> _Build:
    if member.index or member.find_links:
        return _Build(member, _kept(member, f"it comes from the index on its own line, {member.index or member.find_links}"), None)
    if member.specifier.startswith("==="):
        return _Build(member, _kept(member, "=== matches the build without a label alone, which the default registry has"), None)
    version = exact_version(member)
    if version is None:
        return _ranged(member, label, context)
    if version.local:
        return _labelled(member, version, label, context)
    return _completed(member, version, label, context)


def _labelled(member: Declared, version: Version, label: _Label, context: Context) -> _Build:
    index = _index(member, version, label.name, context)
    because = f"the pin names its build, so nothing was changed; it comes from {index.url}"
    if context.target.accelerator == CPU and cuda_version(label.name):
        because += ". It runs without a GPU as well, and is several times larger than the CPU build"
    elif context.target.accelerator != CPU and label.name == CPU:
        because += ". It does not use the target's GPU"
    return _Build(member, _kept(member, because), index)


def _ranged(member: Declared, label: _Label, context: Context) -> _Build:
    index = _index(member, None, label.name, context)
    decision = Decision(
        rule="torch-index-chosen",
        kind=Kind.CHOSEN,
        subject=str(member.name),
        asked=member.pep508,
        chose=f"{member.pep508} from {index.url}",
        because=f"{label.because}, and this index has the {spoken(label.name)} builds",
        origin=member.origin,
        instead=f"another build with --accelerator, or an index of your own: {member.name} --index-url URL",
    )
    return _Build(member, decision, index)


def _completed(member: Declared, version: Version, label: _Label, context: Context) -> _Build:
    release = release_of(str(member.name), version)
    index = _index(member, version, label.name, context)
    if release is not None and has_unlabelled_default(release, label.name):
        reason = f"{label.because}; the build {label.name} of this release is the one without a label"
        return _Build(member, _kept(member, reason), None)
    if not _has_labels(member, version, context):
        return _Build(member, _from_index(member, label, index), index)
    specifier = f"=={version}+{label.name}"
    chosen = member.with_specifier(specifier)
    decision = Decision(
        rule=_CHOSEN,
        kind=Kind.CHOSEN,
        subject=str(member.name),
        asked=member.pep508,
        chose=chosen.pep508,
        because=label.because + (f"; the release is newer than Lading's table of {table('torch')['as_of']}" if release is None else ""),
        origin=member.origin,
        instead=_other_builds(member, version, release, label.name),
    )
    return _Build(chosen, decision, index)


def _has_labels(member: Declared, version: Version, context: Context) -> bool:
    """Builds carry a label on x86_64; elsewhere not always, and torchaudio's only since there is an index per label."""
    if not context.target.platform.startswith("x86_64"):
        return False
    release = release_of(str(member.name), version)
    return not (member.name == "torchaudio" and (release is not None and is_of_links_era(release.version)))


def _from_index(member: Declared, label: _Label, index: BoundIndex) -> Decision:
    return Decision(
        rule="torch-index-chosen",
        kind=Kind.CHOSEN,
        subject=str(member.name),
        asked=member.pep508,
        chose=f"{member.pep508} from {index.url}",
        because=f"{label.because}, and this is where its builds are",
        origin=member.origin,
        instead=f"another build with --accelerator, or an index of your own: {member.name} --index-url URL",
    )


def _other_builds(member: Declared, version: Version, release: Release | None, label: str) -> str:
    others = [one for one in (release.labels if release else ()) if one != label]
    if not others:
        return f"{member.name}=={version}+LABEL, or --accelerator LABEL"
    shown = cuda_first(others)
    listed = f" (also {', '.join('+' + one for one in shown[1:])})" if len(shown) > 1 else ""
    return f"{member.name}=={version}+{shown[0]}{listed}, or --accelerator {shown[0]}"


def cuda_first(labels: Iterable[str]) -> list[str]:
    """Labels for people: CUDA builds, the newest first, then the CPU's, then the others."""
    return sorted(
        labels, key=lambda label: (cuda_version(label) is None, label != CPU, *(-part for part in cuda_version(label) or ()), label)
    )


# Where it comes from


def _bound(builds: Iterable[_Build], label: _Label, context: Context) -> tuple[BoundIndex, ...]:
    """Each index with its packages. What nobody here declares is bound as well: another package may bring it in."""
    made = list(builds)
    declared = {build.requirement.name for build in made}
    indexes = [build.index for build in made if build.index is not None]
    if not any(build.index is None for build in made):
        indexes += [_label_index(name, label.name, context) for name in FAMILY if name not in declared]
    grouped: dict[tuple[str, str], BoundIndex] = {}
    for index in indexes:
        known = grouped.get((index.url.reveal(), index.kind))
        packages = dict.fromkeys((*(known.packages if known else ()), *index.packages))
        grouped[index.url.reveal(), index.kind] = BoundIndex(index.name, index.url, tuple(packages), index.kind)
    return tuple(grouped.values())


def _index(member: Declared, version: Version | None, label: str, context: Context) -> BoundIndex:
    name = str(member.name)
    release = release_of(name, version) if version else None
    of_torch = version if name == "torch" else release.version if release else None
    if of_torch is not None and is_of_links_era(of_torch):
        page = table("torch")["index"]["links_page"]
        return BoundIndex("torch-links", SecretUrl(f"{_base(context.environ)}/{page}"), (name,), "find-links")
    if version is not None and version.is_devrelease:
        return BoundIndex(f"torch-nightly-{label}", SecretUrl(f"{_base(context.environ)}/nightly/{label}"), (name,))
    return _label_index(name, label, context)


def _label_index(name: str, label: str, context: Context) -> BoundIndex:
    return BoundIndex(f"torch-{label}", SecretUrl(f"{_base(context.environ)}/{label}"), (name,))


def _base(environ: Mapping[str, str]) -> str:
    named = environ.get(SWITCH)
    return (named or str(table("torch")["index"]["base"])).rstrip("/")
