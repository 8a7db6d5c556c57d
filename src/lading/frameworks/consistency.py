"""Contradictions within torch's family, found before anything is downloaded: each with what does exist, and the nearest set that goes together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from lading.frameworks.choice import Context, exact_version
from lading.frameworks.files import wheel
from lading.frameworks.labels import CPU, cuda_first, cuda_version, index_label, spoken
from lading.frameworks.names import FAMILY, PARTNERS
from lading.frameworks.nearest import Wish, nearest_sets
from lading.frameworks.offers import File, Offers, Page, Status
from lading.frameworks.places import every_build
from lading.frameworks.releases import agrees, demand, release_of
from lading.frameworks.shelf import Shelf
from lading.frameworks.tables import table
from lading.frameworks.tags import minor_of, spoken_pythons
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared, Via

NEAREST = "The nearest set that goes together: "


@dataclass(frozen=True, slots=True)
class Pin:
    """One exact pin of the family: a version, or the URL of a wheel. ``folder`` is the label of the folder that the wheel is in."""

    declared: Declared
    version: Version
    folder: str | None = None

    @property
    def name(self) -> str:
        """The package's canonical name."""
        return str(self.declared.name)

    @property
    def label(self) -> str | None:
        """The build that the pin names."""
        return index_label(self.version.local) if self.version.local else self.folder


def wheel_of_url(declared: Declared) -> File | None:
    """The wheel that a requirement by URL names, None where the URL does not tell."""
    if declared.via is not Via.URL or declared.url is None:
        return None
    url = declared.url.without_credentials().partition("#")[0]
    return wheel(unquote(url.rpartition("/")[2]), url)


def _pin_of_url(declared: Declared) -> Pin | None:
    file = wheel_of_url(declared)
    return Pin(declared, file.version, file.folder) if file else None


def pins_of(members: Iterable[Declared]) -> tuple[Pin, ...]:
    """The exact pins among the family's requirements."""
    pins = (Pin(one, version) if (version := exact_version(one)) is not None else _pin_of_url(one) for one in members)
    return tuple(pin for pin in pins if pin is not None)


def asked_of_torch(name: str, version: Version, shelf: Shelf) -> str | None:
    """What a companion's release asks of torch (a specifier): its own metadata where it was read, else the table. None: not known."""
    page = metadata_page(name, version, shelf)
    listing = shelf.offers.listing(page) if page else None
    if listing is not None and listing.status is Status.READ:
        return _torch_specifier(listing.requires)
    return demand(name, version)


def _torch_specifier(requires: Iterable[str]) -> str:
    """The specifier on torch, a build's label left out: the label is the family's own affair."""
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.name == "torch" and not (requirement.marker and "extra" in str(requirement.marker)):
            return ",".join(sorted(str(clause).partition("+")[0] for clause in requirement.specifier))
    return ""


def metadata_page(name: str, version: Version, shelf: Shelf) -> Page | None:
    """The page with the core metadata of a release, None where no wheel of it has one."""
    files = sorted((one for one in shelf.release(name, version) or () if one.has_metadata), key=lambda one: (one.url, one.filename))
    return Page(every_build(name, version).index, files[0].url, "metadata") if files else None


def contradictions(members: tuple[Declared, ...], context: Context, shelf: Shelf) -> tuple[Problem, ...]:
    """Everything among the exact pins that cannot be, all at once."""
    pins = pins_of(members)
    wish = wish_of(pins, context)
    found = [problem for pin in pins if (problem := _missing(pin, wish, shelf)) is not None]
    found += _mismatches(pins, wish, shelf)
    return tuple(found)


def wish_of(pins: Sequence[Pin], context: Context) -> Wish:
    """The pins as one wish."""
    torch = next((pin.version for pin in pins if pin.name == "torch"), None)
    return Wish(
        torch=torch,
        partners={pin.name: pin.version for pin in pins if pin.name in PARTNERS},
        label=next((pin.label for pin in pins if pin.label), None),
        python=context.target.python,
        accelerator=context.target.accelerator,
    )


def way_out(wish: Wish, shelf: Shelf) -> str:
    """The nearest sets, as what to write instead."""
    sets = nearest_sets(wish, shelf)
    if not sets:
        return "Pin versions that go together."
    first = f"{NEAREST}{sets[0].spoken()}"
    if sets[0].python != minor_of(wish.python):
        first += f", with --python {sets[0].python}"
    return first + "".join(f"; or {one.spoken()}" for one in sets[1:]) + "."


# What does not exist


def _missing(pin: Pin, wish: Wish, shelf: Shelf) -> Problem | None:
    if pin.name not in FAMILY or pin.declared.via is not Via.INDEX:
        return None
    files = shelf.release(pin.name, pin.version)
    if files is None or not shelf.knows(pin.name):
        return _missing_in_table(pin, wish, shelf)
    if not files:
        return _no_version(pin, wish, shelf)
    of_label = [one for one in files if pin.label is None or _is_of(one, pin)]
    if not of_label:
        return _no_such_build(pin, [one.label for one in files if one.label], "PyTorch's index lists", wish, shelf)
    if any(one.fits(shelf.target) for one in of_label):
        return None
    return _no_python(pin, shelf.pythons(pin.name, pin.version, None if pin.label is None else of_label[0].label) or (), "", wish, shelf)


def _is_of(file: File, pin: Pin) -> bool:
    """Whether a wheel is the build that a pin names: by its version, or, where that has no label, by its folder."""
    return file.version == pin.version or (file.version.local is None and file.folder == pin.label)


def _missing_in_table(pin: Pin, wish: Wish, shelf: Shelf) -> Problem | None:
    release = release_of(pin.name, pin.version)
    if release is None or release.inferred or not shelf.target.platform.startswith("x86_64-manylinux"):
        return None
    as_of = f" (as of {table('torch')['as_of']})"
    if pin.label and _is_known_kind(pin.label) and pin.label not in (*release.labels, *release.doubtful):
        return _no_such_build(pin, release.labels, f"As of {table('torch')['as_of']} there are", wish, shelf)
    minors = release.pythons_of(pin.name, pin.label or CPU)
    if minors and minor_of(shelf.target.python) not in minors:
        return _no_python(pin, minors, as_of, wish, shelf)
    return None


def _is_known_kind(label: str) -> bool:
    return label == CPU or cuda_version(label) is not None


def _no_version(pin: Pin, wish: Wish, shelf: Shelf) -> Problem | None:
    """Not on PyTorch's index at all: refused, unless it is known to have been published, as then the ordinary index may have it."""
    public = Version(pin.version.public)
    elsewhere = [one for one in _of_any_platform(shelf.offers, pin) if one.release == public]
    if not elsewhere and release_of(pin.name, pin.version) is not None:
        return None
    newest = shelf.newest(pin.name)
    return Problem(
        rule="torch-version-missing",
        what=f"{pin.name} {public} {f'has no wheel for {shelf.target.platform}' if elsewhere else 'does not exist'}.",
        origin=pin.declared.origin,
        why=f"PyTorch's index has no wheel of it; the newest {pin.name} there is {newest}." if newest else "PyTorch's index has none.",
        instead=way_out(wish, shelf),
        code=ExitCode.RESOLUTION,
    )


def _of_any_platform(offers: Offers, pin: Pin) -> tuple[File, ...]:
    return offers.files(every_build(pin.name, pin.version)) or ()


def _no_such_build(pin: Pin, labels: Iterable[str], source: str, wish: Wish, shelf: Shelf) -> Problem:
    return Problem(
        rule="torch-build-missing",
        what=f"{pin.name} {pin.version.public} has no build +{pin.version.local}.",
        origin=pin.declared.origin,
        why=f"{source} {', '.join(cuda_first(set(labels)))}.",
        instead=way_out(wish, shelf),
        code=ExitCode.RESOLUTION,
    )


def _no_python(pin: Pin, minors: Iterable[str], as_of: str, wish: Wish, shelf: Shelf) -> Problem:
    build = f" (build {pin.label})" if pin.label else ""
    return Problem(
        rule="torch-python-unfit",
        what=f"{pin.name} {pin.version.public}{build} has no wheel for Python {minor_of(shelf.target.python)}.",
        origin=pin.declared.origin,
        why=f"It has wheels for Python {spoken_pythons(minors)}{as_of}.",
        instead=way_out(wish, shelf),
        code=ExitCode.RESOLUTION,
    )


# What does not go together


def _mismatches(pins: tuple[Pin, ...], wish: Wish, shelf: Shelf) -> list[Problem]:
    torch = next((pin for pin in pins if pin.name == "torch"), None)
    if torch is not None:
        return [problem for pin in pins if pin is not torch and (problem := _mismatch(pin, torch, wish, shelf)) is not None]
    return _partners_disagree(pins, wish, shelf)


def _mismatch(pin: Pin, torch: Pin, wish: Wish, shelf: Shelf) -> Problem | None:
    asked = asked_of_torch(pin.name, pin.version, shelf)
    if asked is None or agrees(asked, torch.version):
        return None
    release = release_of("torch", torch.version)
    partner = release.partner(pin.name) if release else None
    match = f" {pin.name}=={partner} goes with torch {torch.version.public}." if partner else ""
    return Problem(
        rule="torch-partner-mismatch",
        what=f"{pin.name} {pin.version.public} does not go with torch {torch.version.public} ({torch.declared.origin}).",
        origin=pin.declared.origin,
        why=f"It is compiled against torch{asked.replace('==', ' ')}.{match}",
        instead=way_out(wish, shelf),
        code=ExitCode.RESOLUTION,
    )


def _partners_disagree(pins: tuple[Pin, ...], wish: Wish, shelf: Shelf) -> list[Problem]:
    asked = [(pin, text) for pin in pins if pin.name in PARTNERS and (text := asked_of_torch(pin.name, pin.version, shelf))]
    exact = [(pin, Version(text[2:])) for pin, text in asked if text.startswith("==") and "," not in text and "*" not in text]
    if len({version for _, version in exact}) < 2:
        return []
    (first, one), (second, other) = exact[0], next(pair for pair in exact if pair[1] != exact[0][1])
    return [
        Problem(
            rule="torch-partner-mismatch",
            what=f"{second.name} {second.version.public} and {first.name} {first.version.public} ({first.declared.origin}) "
            "are for different releases of torch.",
            origin=second.declared.origin,
            why=f"{first.name} is compiled against torch {one}, and {second.name} against torch {other}.",
            instead=way_out(wish, shelf),
            code=ExitCode.RESOLUTION,
        )
    ]


def no_build(members: tuple[Declared, ...], release: Version, labels: Iterable[str], context: Context, shelf: Shelf) -> Problem:
    """There are builds of a release, and none for the accelerator."""
    pins = pins_of(members)
    pin = next((one for one in pins if one.name == "torch"), pins[0] if pins else None)
    as_of = "" if shelf.knows("torch") else f" (as of {table('torch')['as_of']})"
    return Problem(
        rule="torch-no-build",
        what=f"torch {release.public} has no build for {spoken(context.target.accelerator)} or an older CUDA.",
        origin=pin.declared.origin if pin else None,
        why=f"Its builds are {', '.join(cuda_first(set(labels)))}{as_of}.",
        instead=f"Ask for one of these with --accelerator, or for cpu. {way_out(wish_of(pins, context), shelf)}",
        code=ExitCode.RESOLUTION,
    )
