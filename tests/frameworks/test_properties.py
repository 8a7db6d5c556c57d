"""What holds for every declaration, target and index: asked for is what is chosen, pins with a build stay, and no order matters."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.frameworks import Context, Offers, choose_builds, wanted
from lading.frameworks.choice import exact_version
from lading.frameworks.files import wheel
from lading.frameworks.labels import cuda_version
from lading.frameworks.nearest import Wish, nearest_sets
from lading.frameworks.offers import File, Listing, Status
from lading.frameworks.places import every_build
from lading.frameworks.releases import releases
from lading.frameworks.shelf import Shelf
from lading.model.requirements import Declared
from lading.model.target import Target
from tests.support.plans import declared
from tests.support.pytorch import cpython

LABELS = ("cpu", "cu118", "cu121", "cu124", "cu126", "cu130", "rocm6.2")
VERSIONS = ("1.11.0", "2.0.1", "2.4.1", "2.8.0", "2.14.1", "2.16.0", "3.0.0")
PYTHONS = ("3.8", "3.10", "3.11", "3.12", "3.13")

versions = st.sampled_from(VERSIONS)
labels = st.sampled_from(LABELS)
targets = st.builds(
    Target,
    python=st.sampled_from([f"{minor}.7" for minor in PYTHONS]),
    platform=st.sampled_from(["x86_64-manylinux_2_17", "x86_64-manylinux_2_36", "aarch64-manylinux_2_36", "aarch64-apple-darwin"]),
    accelerator=st.sampled_from(["cpu", "cu118", "cu121", "cu129", "cu132"]),
)
builds = st.tuples(versions, labels, st.sampled_from(PYTHONS), st.sampled_from(["linux_x86_64", "manylinux_2_28_x86_64"]))
specifiers = st.one_of(
    st.builds("=={}".format, versions),
    st.builds("=={}+{}".format, versions, labels),
    st.builds(">={}".format, versions),
    st.builds("<{}".format, versions),
    st.builds("~={}".format, versions),
    st.sampled_from(["", "==2.4.*", "!=2.4.1", "===2.4.1"]),
)
lines = st.lists(
    st.one_of(
        st.builds("torch{}".format, specifiers),
        st.builds("torchaudio{}".format, specifiers),
        st.sampled_from(["torchvision==0.19.1", "torchvision", "numpy>=1", "tensorflow==2.15.0", "jax", "onnxruntime==1.20.0"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda line: line.rstrip("=<>~!.*+0123456789cpurom"),
)


def listing(found: list[tuple[str, str, str, str]], name: str) -> list[File]:
    """A page's wheels of these builds."""
    names = [f"{name}-{version}+{label}-{cpython(python)}-{platform}.whl" for version, label, python, platform in found]
    files = [wheel(filename, f"https://download.pytorch.org/whl/{filename.split('+')[1].split('-')[0]}/{filename}") for filename in names]
    return [one for one in dict.fromkeys(files) if one is not None]


def offers_of(found: list[tuple[str, str, str, str]]) -> Offers:
    pages = {every_build(name): Listing(status=Status.READ, files=tuple(listing(found, name))) for name in ("torch", "torchaudio")}
    return Offers(pages=pages)


def requirements_of(texts: list[str]) -> tuple[Declared, ...]:
    return tuple(declared(text, number) for number, text in enumerate(texts, start=1))


def satisfied(asked: Declared, chosen: Declared) -> bool:
    """Whether everything that the chosen requirement allows was asked for."""
    version = exact_version(chosen)
    if version is None or asked.specifier == chosen.specifier:
        return asked.specifier == chosen.specifier
    return SpecifierSet(asked.specifier).contains(version, prereleases=True)


@given(lines, targets, st.lists(builds, max_size=12))
@settings(max_examples=300, deadline=None)
def test_what_is_chosen_is_what_was_asked(texts: list[str], target: Target, found: list[tuple[str, str, str, str]]):
    asked = requirements_of(texts)
    choice = choose_builds(asked, Context(target=target, offers=offers_of(found)))
    assert len(choice.requirements) == len(asked)
    for before, after in zip(asked, choice.requirements, strict=True):
        assert satisfied(before, after)
        assert (before.origin, before.marker, str(before.raw)) == (after.origin, after.marker, str(after.raw))
        if before.name not in ("tensorflow", "jax"):
            assert (before.name, before.extras) == (after.name, after.extras)


@given(lines, targets, st.lists(builds, max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_pin_with_a_build_is_never_changed(texts: list[str], target: Target, found: list[tuple[str, str, str, str]]):
    asked = requirements_of(texts)
    choice = choose_builds(asked, Context(target=target, offers=offers_of(found)))
    for before, after in zip(asked, choice.requirements, strict=True):
        version = exact_version(before)
        if version is not None and version.local:
            assert after == before


@given(lines, targets, st.lists(builds, max_size=12), st.randoms())
@settings(max_examples=300, deadline=None)
def test_the_order_of_an_index_does_not_matter(texts: list[str], target: Target, found: list[tuple[str, str, str, str]], random):
    asked = requirements_of(texts)
    shuffled = found.copy()
    random.shuffle(shuffled)
    first = choose_builds(asked, Context(target=target, offers=offers_of(found)))
    assert choose_builds(asked, Context(target=target, offers=offers_of(shuffled))) == first


@given(lines, targets, st.lists(builds, max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_completed_build_installs_on_the_target_and_its_cuda_is_not_newer(
    texts: list[str], target: Target, found: list[tuple[str, str, str, str]]
):
    asked = requirements_of(texts)
    offers = offers_of(found)
    choice = choose_builds(asked, Context(target=target, offers=offers))
    limit = cuda_version(target.accelerator)
    named = any((version := exact_version(one)) and version.local for one in asked)
    for before, after in zip(asked, choice.requirements, strict=True):
        if choice.problems or before == after or after.name not in ("torch", "torchaudio"):
            continue
        version = exact_version(after)
        assert version is not None
        page = offers.files(every_build(str(after.name)))
        if page:
            assert any(one.version == version and one.fits(target) for one in page)
        if not named:
            own = cuda_version(str(version.local))
            assert (own is not None and own <= limit) if limit else version.local == "cpu"


@given(lines, targets, st.lists(builds, max_size=12))
@settings(max_examples=200, deadline=None)
def test_every_requirement_of_the_family_is_spoken_of_or_refused(texts: list[str], target: Target, found: list[tuple[str, str, str, str]]):
    choice = choose_builds(requirements_of(texts), Context(target=target, offers=offers_of(found)))
    told = {decision.subject for decision in choice.decisions}
    names = {text.rstrip("=<>~!.*+0123456789cpurom") for text in texts} & {"torch", "torchvision", "torchaudio"}
    assert choice.problems or names <= told
    assert all(one.because and one.rule for one in choice.decisions)
    assert all(one.what and one.instead and one.origin for one in choice.problems)


@given(lines, targets)
@settings(max_examples=200, deadline=None)
def test_asking_comes_to_an_end(texts: list[str], target: Target):
    asked, context = requirements_of(texts), Context(target=target)
    for _ in range(5):
        pages = wanted(asked, context)
        if not pages:
            return
        assert not set(pages) & set(context.offers.pages)
        silence = Offers(pages=dict.fromkeys(pages, Listing(status=Status.ABSENT)))
        context = replace(context, offers=context.offers.and_(silence))
    raise AssertionError(pages)


@given(
    st.none() | versions.map(Version),
    st.dictionaries(st.sampled_from(["torchvision", "torchaudio"]), st.sampled_from(["0.12.0", "0.19.1", "2.4.1", "9.9.9"]).map(Version)),
    st.none() | labels,
    targets,
)
@settings(max_examples=100, deadline=None)
def test_a_nearest_set_goes_together(torch: Version | None, partners: dict[str, Version], label: str | None, target: Target):
    wish = Wish(torch=torch, partners=partners, label=label, python=target.python, accelerator=target.accelerator)
    for one in nearest_sets(wish, Shelf(Offers(), target)):
        (row,) = [row for row in releases() if str(row.version) == one.torch]
        assert one.label in row.labels
        assert all(row.goes_with(name, Version(version)) for name, version in one.partners)
        assert one.python in one.pythons


def test_a_wish_that_can_be_met_is_its_own_nearest_set():
    target = Target(python="3.11.7", platform="x86_64-manylinux_2_28", accelerator="cu121")
    for row in releases():
        label = row.labels[0]
        minors = row.pythons_of("torchvision", label)
        if minors:
            partners = {"torchvision": Version(str(row.partner("torchvision")))}
            wish = Wish(torch=row.version, partners=partners, label=label, python=f"{minors[0]}.0", accelerator=target.accelerator)
            (only,) = nearest_sets(wish, Shelf(Offers(), target))
            assert (only.torch, only.label, only.python) == (str(row.version), label, minors[0])
