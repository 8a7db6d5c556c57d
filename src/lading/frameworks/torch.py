"""torch and the companions that are built with it: one label for the whole family, from PyTorch's own index for that label.

PyTorch publishes a folder per build label (``…/whl/cpu``, ``…/whl/cu118``), each a package index; releases up to 1.10.2 are documented by one
page of links. The default registry has one build of each release, for Linux mostly a CUDA one that brings several GB of NVIDIA's libraries.
"""

from __future__ import annotations

from collections.abc import Iterable

from packaging.version import Version

from lading.frameworks.choice import Choice, Context, exact_version
from lading.frameworks.companions import COMPILED
from lading.frameworks.consistency import contradictions
from lading.frameworks.family import Label, basis, family_label, lead_of, members_of
from lading.frameworks.labels import CPU, cuda_first, cuda_version, spoken
from lading.frameworks.machines import about_gpus
from lading.frameworks.names import FAMILY
from lading.frameworks.own import left_alone, own_place, pytorch_options, scoped_decisions
from lading.frameworks.places import place_of
from lading.frameworks.releases import has_unlabelled_default, is_of_links_era, release_of
from lading.frameworks.shelf import Shelf
from lading.frameworks.tables import table
from lading.model.decisions import Decision, Kind
from lading.model.plan import BoundIndex
from lading.model.problems import Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared, Via

CHOSEN = "torch-build-chosen"
KEPT = "torch-build-kept"
FROM_INDEX = "torch-index-chosen"


@dataclass(frozen=True, slots=True)
class Build:
    """What became of one requirement: how it goes to the resolver, bound to which index, and why. No index: any."""

    requirement: Declared
    decision: Decision
    index: BoundIndex | None


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Give the family its build. Nothing is changed where the user has said where torch comes from, or which build it is."""
    members = members_of(requirements, context)
    core = tuple(one for one in members if one.name in FAMILY)
    reason = left_alone(core, context)
    if reason is not None:
        return Choice(requirements=requirements, decisions=tuple(_kept(member, reason) for member in core))
    shelf = Shelf(context.offers, context.target)
    problems = contradictions(members, context, shelf)
    if problems:
        return Choice(requirements=requirements, problems=problems)
    scoped = pytorch_options(context.options, context)
    label = family_label(members, context, shelf, scoped[0] if scoped else None)
    if isinstance(label, Problem):
        return Choice(requirements=requirements, problems=(label,))
    builds = {id(member): build for member in members if (build := _build(member, label, context, shelf)) is not None}
    made = tuple(builds[id(one)].requirement if id(one) in builds else one for one in requirements)
    decisions = [build.decision for build in builds.values()]
    decisions += _inferred(members, label, context, shelf)
    decisions += scoped_decisions(scoped)
    decisions += about_gpus(label, context) if core else []
    return Choice(
        requirements=made,
        bound=_bound(builds.values(), label),
        decisions=tuple(decisions),
        scoped=scoped,
        label=label.name if core else None,
    )


def _kept(declared: Declared, because: str) -> Decision:
    return Decision(
        rule=KEPT,
        kind=Kind.KEPT,
        subject=declared.name or "torch",
        asked=declared.pep508,
        chose=declared.pep508,
        because=because,
        origin=declared.origin,
    )


# The build of one requirement


def _build(member: Declared, label: Label, context: Context, shelf: Shelf) -> Build | None:
    if member.via is Via.URL:
        return Build(member, _kept(member, "its URL names the file, so nothing was changed"), None)
    place = own_place(member, context)
    if place is not None:
        where = "the index on its own line" if member.index or member.find_links else "the index that the project binds it to"
        return Build(member, _kept(member, f"it comes from {where}, {place}"), None)
    if member.specifier.startswith("==="):
        return Build(member, _kept(member, "=== matches the build without a label alone, which the default registry has"), None)
    if member.name not in FAMILY and not shelf.knows(str(member.name)):
        absent = member.name in COMPILED and shelf.files(str(member.name)) is not None
        return Build(member, _ordinary(member, label), None) if absent else None
    version = exact_version(member)
    if member.hashes and (version is None or not version.local):
        return _hashed(member, label, shelf)
    if version is None:
        return _ranged(member, label, context, shelf)
    if version.local:
        return _labelled(member, version, label, context, shelf)
    return _completed(member, version, label, context, shelf)


def _hashed(member: Declared, label: Label, shelf: Shelf) -> Build:
    """A line with hashes names its files: the build that they are of, else whatever the ordinary index has under them."""
    name = str(member.name)
    file = shelf.hashed(name, member.hashes)
    if file is None:
        because = "its hashes name the files, and they are of no build on PyTorch's index for this target; it comes from the ordinary index"
        return Build(member, _kept(member, because), None)
    index = place_of(name, file.version, label.name, file)
    return Build(member, _kept(member, f"its hashes are those of the build {file.label}; it comes from {index.url}"), index)


def _labelled(member: Declared, version: Version, label: Label, context: Context, shelf: Shelf) -> Build:
    name = str(member.name)
    files = [one for one in shelf.release(name, version) or () if one.version == version and one.fits(context.target)]
    index = place_of(name, version, label.name, files[0] if files else None)
    because = f"the pin names its build, so nothing was changed; it comes from {index.url}"
    if context.target.accelerator == CPU and cuda_version(label.name):
        because += ". It runs without a GPU as well, and is several times larger than the CPU build"
    elif context.target.accelerator != CPU and label.name == CPU:
        because += ". It does not use the target's GPU"
    return Build(member, _kept(member, because), index)


def _ranged(member: Declared, label: Label, context: Context, shelf: Shelf) -> Build | None:
    name = str(member.name)
    files = shelf.files(name) or ()
    if name not in FAMILY and not any(one.label == label.name for one in files):
        return None if any(one.label is None for one in files) else Build(member, _ordinary(member, label), None)
    index = place_of(name, None, label.name)
    because = f"{label.because}, and this index has the {spoken(label.name)} builds{basis(name, context, shelf)}"
    return Build(member, _from_index(member, index, because), index)


def _completed(member: Declared, version: Version, label: Label, context: Context, shelf: Shelf) -> Build | None:
    name = str(member.name)
    if shelf.knows(name) and shelf.release(name, version) is not None:
        return _listed(member, version, label, context, shelf)
    release = release_of(name, version)
    index = place_of(name, version, label.name)
    because = label.because + basis(name, context, shelf)
    if release is not None and has_unlabelled_default(release, label.name):
        reason = f"{because}; the build {label.name} of this release is the one without a label"
        return Build(member, _kept(member, reason), None)
    if not _has_labels(member, version, context):
        return Build(member, _from_index(member, index, f"{because}, and this is where its builds are"), index)
    newer = f"; the release is newer than Lading's table of {table('torch')['as_of']}" if release is None else ""
    labels = release.labels if release else ()
    return _with_label(member, label.name, because + newer, index, labels)


def _has_labels(member: Declared, version: Version, context: Context) -> bool:
    """Builds carry a label on x86_64; elsewhere not always, and torchaudio's only since there is an index per label."""
    if not context.target.platform.startswith("x86_64"):
        return False
    release = release_of(str(member.name), version)
    return not (member.name == "torchaudio" and (release is not None and is_of_links_era(release.version)))


def _listed(member: Declared, version: Version, label: Label, context: Context, shelf: Shelf) -> Build | None:
    """The build as the index itself lists it: with its label, without one in the label's folder, or not at all."""
    name = str(member.name)
    file = shelf.build(name, version, label.name)
    if file is None:
        return _not_of_label(member, version, label, context, shelf)
    index = place_of(name, version, label.name, file)
    because = label.because + basis(name, context, shelf)
    if file.version.local is None:
        return Build(member, _from_index(member, index, f"{because}, and there its build for it has no label"), index)
    return _with_label(member, label.name, because, index, shelf.labels(name, version) or ())


def _not_of_label(member: Declared, version: Version, label: Label, context: Context, shelf: Shelf) -> Build | None:
    """A release without a build of this label: torchaudio's early ones have one wheel for all; other companions come from the registry."""
    name = str(member.name)
    plain = [one for one in shelf.release(name, version) or () if one.version.local is None and one.fits(context.target)]
    if not plain:
        return Build(member, _ordinary(member, label), None)
    if name not in FAMILY:
        return None
    index = place_of(name, version, label.name, plain[0])
    return Build(member, _from_index(member, index, "this release has one wheel for every build of torch"), index)


def _ordinary(member: Declared, label: Label) -> Decision:
    return Decision(
        rule="torch-companion-ordinary",
        kind=Kind.ADVICE,
        subject=str(member.name),
        asked=member.pep508,
        chose=f"{member.pep508} from the ordinary package index",
        because=f"PyTorch's index has no {spoken(label.name)} build of it, and torch's own is {label.name}",
        origin=member.origin,
        instead=f"a version that is built for torch's release and {label.name}, or an index that has one: {member.name} --index-url URL",
    )


def _with_label(member: Declared, label: str, because: str, index: BoundIndex, labels: Iterable[str]) -> Build:
    version = str(exact_version(member))
    chosen = member.with_specifier(f"=={version}+{label}")
    decision = Decision(
        rule=CHOSEN,
        kind=Kind.CHOSEN,
        subject=str(member.name),
        asked=member.pep508,
        chose=chosen.pep508,
        because=because,
        origin=member.origin,
        instead=_other_builds(member, version, labels, label),
    )
    return Build(chosen, decision, index)


def _from_index(member: Declared, index: BoundIndex, because: str) -> Decision:
    return Decision(
        rule=FROM_INDEX,
        kind=Kind.CHOSEN,
        subject=str(member.name),
        asked=member.pep508,
        chose=f"{member.pep508} from {index.url}",
        because=because,
        origin=member.origin,
        instead=f"another build with --accelerator, or an index of your own: {member.name} --index-url URL",
    )


def _other_builds(member: Declared, version: str, labels: Iterable[str], label: str) -> str:
    others = [one for one in labels if one != label]
    if not others:
        return f"{member.name}=={version}+LABEL, or --accelerator LABEL"
    shown = cuda_first(others)
    listed = f" (also {', '.join('+' + one for one in shown[1:])})" if len(shown) > 1 else ""
    return f"{member.name}=={version}+{shown[0]}{listed}, or --accelerator {shown[0]}"


# What is said beside


def _inferred(members: tuple[Declared, ...], label: Label, context: Context, shelf: Shelf) -> list[Decision]:
    """torch, named by nobody or without a version, follows from a pinned partner."""
    lead = lead_of(members, context, shelf)
    if lead is None or lead.partner is None:
        return []
    partner = lead.partner.declared
    torch = next((one for one in members if one.name == "torch"), None)
    return [
        Decision(
            rule="torch-inferred",
            kind=Kind.CHOSEN,
            subject="torch",
            asked=torch.pep508 if torch else f"no torch, but {partner.pep508}",
            chose=f"torch=={lead.version}+{label.name}",
            because=f"{partner.name} {lead.partner.version.public} is compiled against torch {lead.version}",
            origin=torch.origin if torch else partner.origin,
            instead=f"torch==VERSION, with the {partner.name} that goes with it",
        )
    ]


# Where it comes from


def _bound(builds: Iterable[Build], label: Label) -> tuple[BoundIndex, ...]:
    """Each index with its packages. What nobody here declares is bound as well: another package may bring it in."""
    made = [build for build in builds if build.requirement.name in FAMILY or build.index is not None]
    declared = {build.requirement.name for build in made}
    indexes = [build.index for build in made if build.index is not None]
    if not any(build.index is None and build.requirement.via is Via.INDEX for build in made):
        indexes += [place_of(name, None, label.name) for name in FAMILY if name not in declared]
        indexes += [place_of(name, None, label.name) for name in _only_here(label.name)]
    grouped: dict[tuple[str, str], BoundIndex] = {}
    for index in indexes:
        same = grouped.get((index.url.reveal(), index.kind))
        packages = dict.fromkeys((*(same.packages if same else ()), *index.packages))
        grouped[index.url.reveal(), index.kind] = BoundIndex(index.name, index.url, tuple(packages), index.kind)
    return tuple(grouped.values())


def _only_here(label: str) -> tuple[str, ...]:
    """What builds for other GPUs require, and PyTorch's index alone has."""
    if label.startswith("rocm"):
        return ("pytorch-triton-rocm", "triton-rocm")
    return ("pytorch-triton-xpu", "triton-xpu") if label == "xpu" else ()
