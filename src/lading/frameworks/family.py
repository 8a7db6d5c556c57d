"""One build label for torch's whole family: which one, and why."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.frameworks.choice import Context, applies, exact_version
from lading.frameworks.companions import COMPANIONS
from lading.frameworks.consistency import Pin, asked_of_torch, no_build, pins_of, way_out, wheel_of_url, wish_of
from lading.frameworks.gpus import has_kernels, spoken_gpus
from lading.frameworks.labels import CPU, cuda_up_to, cuda_version, spoken
from lading.frameworks.names import FAMILY, PARTNERS
from lading.frameworks.offers import File
from lading.frameworks.own import own_place
from lading.frameworks.places import asked_label, every_build
from lading.frameworks.releases import Release, known, releases
from lading.frameworks.shelf import Shelf
from lading.frameworks.tables import table
from lading.frameworks.tags import minor_of
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared, Via
from lading.model.secrets import SecretUrl
from lading.model.target import Gpu


@dataclass(frozen=True, slots=True)
class Label:
    """The family's build label, and the half sentence that says why. ``release`` is torch's, as far as it is known before resolving."""

    name: str
    because: str
    release: Version | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """The release of torch that the exact pins settle. ``partner`` is the pin that it was inferred from, when torch itself is not pinned."""

    version: Version
    partner: Pin | None = None


def members_of(requirements: Iterable[Declared], context: Context) -> tuple[Declared, ...]:
    """The requirements on the family that hold on the target: from an index, or by the URL of a wheel."""
    names = {*FAMILY, *COMPANIONS}
    ours = (one for one in requirements if one.name in names and (one.via is Via.INDEX or wheel_of_url(one) is not None))
    return tuple(one for one in ours if applies(one, context.target))


def lead_of(members: tuple[Declared, ...], context: Context, shelf: Shelf) -> Lead | None:
    """The release that the pins settle: torch's own, else a constraint's, else the one that a pinned partner is compiled against."""
    pins = pins_of(members)
    own = next((pin.version for pin in pins if pin.name == "torch"), None)
    held = next((version for one in context.constraints if one.name == "torch" and (version := exact_version(one))), None)
    if own or held:
        version = own or held
        return Lead(Version(version.public)) if version else None
    for pin in pins:
        asked = asked_of_torch(pin.name, pin.version, shelf) if pin.name in PARTNERS else None
        if asked and asked.startswith("==") and "," not in asked and "*" not in asked:
            return Lead(Version(asked[2:]), pin)
    return None


def family_label(members: tuple[Declared, ...], context: Context, shelf: Shelf, of_file: SecretUrl | None) -> Label | Problem:
    """One label for all: the one that a pin names, else that of an index that the project names, else the best for the target.

    ``of_file`` is one of PyTorch's own indexes among the options of the requirements file.
    """
    lead = lead_of(members, context, shelf)
    release = lead.version if lead else None
    named = [(pin, pin.label) for pin in pins_of((*members, *_held(context))) if pin.label]
    if len({label for _, label in named}) > 1:
        return _labels_disagree([pin for pin, _ in named])
    if named:
        pin, label = named[0]
        return Label(str(label), f"{pin.declared.origin} names the build {label}, and the family has one build", release)
    for member in members:
        file = shelf.hashed(str(member.name), member.hashes) if member.hashes else None
        if file is not None and file.label:
            return Label(
                file.label, f"the hashes of {member.origin} are those of the build {file.label}, and the family has one build", release
            )
    for member in members:
        place = own_place(member, context)
        of_line = asked_label(place.without_credentials()) if place else None
        if of_line:
            because = f"{member.origin} takes {member.name} from an index of {of_line} builds, and the family has one build"
            return Label(of_line, because, release)
    asked = asked_label(of_file.without_credentials()) if of_file else None
    if asked:
        return Label(asked, f"the project names the index of {asked} builds, {of_file}", release)
    return _for_target(members, context, shelf, lead)


def _held(context: Context) -> tuple[Declared, ...]:
    return tuple(one for one in context.constraints if one.name in ("torch", *PARTNERS))


def _labels_disagree(pins: list[Pin]) -> Problem:
    lines = ", ".join(f"{pin.declared.pep508} ({pin.declared.origin})" for pin in pins)
    return Problem(
        rule="torch-labels-disagree",
        what=f"torch and its companions are pinned to different builds: {lines}.",
        origin=pins[-1].declared.origin,
        why="They are compiled against each other, so builds for different CUDA versions do not load together.",
        instead=f"Give all of them the same label, such as +{pins[0].label}.",
        code=ExitCode.RESOLUTION,
    )


def _for_target(members: tuple[Declared, ...], context: Context, shelf: Shelf, lead: Lead | None) -> Label | Problem:
    accelerator = context.target.accelerator
    if accelerator == CPU:
        newest = lead.version if lead else _newest(members, context, shelf, CPU)
        return Label(CPU, "the target has no GPU", newest)
    if lead is None:
        return _of_range(members, context, shelf)
    offered = _offered(lead.version, members, shelf)
    if not offered:
        return Label(accelerator, f"the target has {spoken(accelerator)}", lead.version)
    fitting = cuda_up_to(offered, accelerator)
    if not fitting:
        return no_build(members, lead.version, offered, context, shelf)
    label, why_older = _with_kernels(lead.version, fitting, context)
    return Label(label, why_older or _fits(lead.version, label, accelerator), lead.version)


def _offered(version: Version, members: tuple[Declared, ...], shelf: Shelf) -> list[str]:
    """The builds of a release that install on the target, and that every pinned partner has as well."""
    release = known(version)
    labels = shelf.labels("torch", version)
    offered = list(labels) if labels else list(release.labels if release else ())
    for pin in pins_of(members):
        of_partner = shelf.labels(pin.name, pin.version) if pin.name in PARTNERS else None
        together = [label for label in offered if label in of_partner] if of_partner else offered
        offered = together or offered
    return offered


def _with_kernels(version: Version, labels: list[str], context: Context) -> tuple[str, str | None]:
    """The newest label with code for the GPUs at hand; the newest of all where nothing is known, or none has any."""
    gpus = _gpus(context)
    for label in labels:
        if has_kernels(version, label, gpus) is False:
            continue
        if label == labels[0]:
            return label, None
        return label, f"{spoken(label)} is the newest build of torch {version} with code for {spoken_gpus(gpus)}"
    return labels[0], None


def _gpus(context: Context) -> tuple[Gpu, ...]:
    """The GPUs to choose for: those at hand, unless the accelerator was asked for, which may be another machine's."""
    return context.machine.gpus if context.machine and not context.explicit else ()


def _fits(version: Version, label: str, accelerator: str) -> str:
    if label == accelerator:
        return f"the target has {spoken(accelerator)}"
    return f"{spoken(label)} is the newest build of torch {version} that a target with {spoken(accelerator)} runs"


# Ranges


def _of_range(members: tuple[Declared, ...], context: Context, shelf: Shelf) -> Label | Problem:
    """The build with the newest release that the ranges allow: the resolver chooses the release, from that build's index."""
    accelerator = context.target.accelerator
    newest = _newest_by_label(members, context, shelf)
    fitting = cuda_up_to(newest, accelerator)
    if not fitting:
        if not any(one.name == "torch" for one in members) or not _is_known(members, shelf):
            return Label(accelerator, f"the target has {spoken(accelerator)}")
        return _nothing_fits(members, context, shelf)
    gpus = _gpus(context)
    usable = [label for label in fitting if has_kernels(newest[label], label, gpus) is not False] or fitting
    label = (
        accelerator
        if context.explicit and accelerator in usable
        else max(usable, key=lambda one: (newest[one], cuda_version(one) or (0, 0)))
    )
    return Label(label, _range_reason(label, newest[label], accelerator), newest[label])


def _range_reason(label: str, version: Version, accelerator: str) -> str:
    if label == accelerator:
        return f"the target has {spoken(accelerator)}"
    return f"a target with {spoken(accelerator)} runs {spoken(label)}, which has the newest release that fits, {version}"


def _is_known(members: tuple[Declared, ...], shelf: Shelf) -> bool:
    return shelf.knows(_lead_name(members))


def _lead_name(members: Iterable[Declared]) -> str:
    names = [str(one.name) for one in members]
    return "torch" if "torch" in names or not names else names[0]


def _newest(members: tuple[Declared, ...], context: Context, shelf: Shelf, label: str) -> Version | None:
    return _newest_by_label(members, context, shelf).get(label)


def _newest_by_label(members: tuple[Declared, ...], context: Context, shelf: Shelf) -> dict[str, Version]:
    """The newest release that the ranges allow and that installs on the target, by label."""
    name = _lead_name(members)
    allowed = SpecifierSet(",".join(_specifiers(name, members, context)))
    early = context.options.pre or bool(allowed.prereleases)
    files = shelf.files(name)
    found: dict[str, Version] = {}
    for label, version in _listed(files, context) if files else _tabled(name, context):
        if allowed.contains(version, prereleases=early) and (label not in found or version > found[label]):
            found[label] = version
    return found if name == "torch" else _as_torch(name, found, shelf)


def allowed_releases(members: tuple[Declared, ...], context: Context) -> tuple[Release, ...]:
    """The known releases that the ranges allow; all where they allow none that is known."""
    name = _lead_name(members)
    allowed = SpecifierSet(",".join(_specifiers(name, members, context)))
    found = [row for row in releases() if (version := row.partner(name)) and allowed.contains(version, prereleases=True)]
    return tuple(found) or releases()


def _specifiers(name: str, members: Iterable[Declared], context: Context) -> list[str]:
    return [one.specifier for one in (*members, *context.constraints) if one.name == name and one.specifier]


def _listed(files: Iterable[File], context: Context) -> Iterable[tuple[str, Version]]:
    for one in files:
        if one.label and one.fits(context.target):
            yield one.label, one.release


def _tabled(name: str, context: Context) -> Iterable[tuple[str, Version]]:
    python = minor_of(context.target.python)
    for row in releases():
        version = row.partner(name)
        for label in row.labels:
            if version is not None and python in row.pythons_of(name, label):
                yield label, Version(version)


def _as_torch(name: str, found: dict[str, Version], shelf: Shelf) -> dict[str, Version]:
    """Versions of a partner, as the releases of torch that they go with."""
    made = {}
    for label, version in found.items():
        asked = asked_of_torch(name, version, shelf) or ""
        made[label] = Version(asked[2:]) if asked.startswith("==") and "," not in asked else version
    return made


def _nothing_fits(members: tuple[Declared, ...], context: Context, shelf: Shelf) -> Problem:
    torch = next(one for one in members if one.name == "torch")
    accelerator = context.target.accelerator
    labels = sorted({one.label for one in shelf.files("torch") or () if one.label and cuda_version(one.label)})
    return Problem(
        rule="torch-no-build",
        what=f"No release that {torch.pep508} allows has a build for {spoken(accelerator)} or an older CUDA "
        f"and Python {minor_of(context.target.python)}.",
        origin=torch.origin,
        why=f"PyTorch's index has builds for {', '.join(labels)}, each for some releases.",
        instead=way_out(wish_of(pins_of(members), context), shelf),
        code=ExitCode.RESOLUTION,
    )


def basis(name: str, context: Context, shelf: Shelf) -> str:
    """What the choice stands on, where that is not the index as it is now: said at the end of the reason."""
    if shelf.knows(name):
        copied = shelf.copied_on()
        return f"; the index could not be asked, so this follows its page of {copied}" if copied else ""
    why = context.offers.unreachable()
    if why is None and context.offers.listing(every_build(name)) is not None:
        why = f"it has no page of {name}"
    if why is None:
        return ""
    return f"; PyTorch's index could not be asked ({why}), so this follows Lading's table of {table('torch')['as_of']}"
