"""Our reader of conda's match specifications beside py-rattler's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.formats._matchspec import SUBDIRS, read_spec
from lading.model.conda import MatchSpec
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError
from tests.formats.reading import problems

rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")

SPECS = [
    *("numpy", "Numpy", "_libgcc_mutex", "ruamel.yaml", "numpy=1.26", "numpy==1.26.4", "numpy>=1.2,<2", "numpy 1.26.*", "numpy=1.26*"),
    *("numpy 1.26.4 py310_0", "numpy=1.26.4=py310_0", "numpy==1.26.4=py310_0", "numpy=1.26=*cuda*", "numpy=*=cuda*", "numpy * py*"),
    *("numpy = 1.2", "numpy== 1.2", "numpy =1.2", "numpy ==1.2=b", "numpy>=1.2 py*", "numpy  1.2   b", "numpy=1.2 b", "numpy 1.26"),
    *("conda-forge::numpy=1.2", "pkgs/main::numpy", "conda-forge/linux-64::numpy=1.2=b", "a/b/c::numpy", "conda-forge/label/dev::x"),
    *(
        "numpy[version='>=1', build='py*']",
        "numpy[build=py*,channel=conda-forge]",
        "numpy[version='1.2.*|1.3']",
        "numpy[build_number='>=1']",
    ),
    *(
        "numpy >=1.2|1.0",
        "numpy=1.0|2.0",
        "numpy 1.2|1.3",
        "numpy <2,>=1.2|==3",
        "numpy=1.2,<3",
        "numpy~=1.2",
        "numpy!=1.2",
        "numpy!=1.2.*",
    ),
    *("numpy>=1.2.*", "numpy==1.2.*", "numpy~=1.2.*", "numpy >= 1.2", "numpy >=1.2 , <2", "numpy=1!2.0", "numpy=1.0.0rc1", "numpy=1.2+cu1"),
    *("jpeg=9e", "tzdata 2021a", "openssl=1.1.1q", "_openmp_mutex=4.5=1_gnu", "pytorch==1.12.1=py3.9_cuda11.3_cudnn8.3.2_0"),
    *("libstdcxx-ng=9.3.0=hd4cf53a_17", "python>=3.8,<3.9.0a0", "numpy=1.26.4=*", "c/linux-64::n", "c::n[subdir=linux-64]"),
]


def ours(text: str) -> MatchSpec:
    return read_spec(text, Origin("conda-packages.txt", 1), MemoryFiles({}))


def as_read(text: str) -> tuple[str, str, str, str, str]:
    spec = ours(text)
    return spec.name, spec.version, spec.build, str(spec.channel or ""), spec.subdir


def as_rattler_reads(text: str) -> tuple[str, str, str, str, str]:
    spec = rattler.MatchSpec(text, strict=False)
    channel = spec.channel.name if spec.channel else ""
    return spec.name.normalized, str(spec.version or ""), str(spec.build or ""), channel, spec.subdir or ""


@pytest.mark.parametrize("text", SPECS)
def test_a_specification_means_to_us_what_it_means_to_rattler(text: str):
    assert as_read(text) == as_rattler_reads(text)


@pytest.mark.parametrize("text", SPECS)
def test_what_is_handed_on_is_read_back_the_same(text: str):
    spec = ours(text)
    again = rattler.MatchSpec(spec.match, strict=False)
    assert (again.name.normalized, str(again.version or ""), str(again.build or "")) == (
        spec.name,
        spec.version or ("*" if spec.build else ""),
        spec.build,
    )


VERSIONS = st.from_regex(r"(0|[1-9][0-9]?)(\.(0|[1-9][0-9]?)){0,3}(rc[0-9]|\.post[0-9])?", fullmatch=True)
BOUNDS = st.builds(lambda op, version: op + version, st.sampled_from(["", "==", ">=", "<=", ">", "<", "!=", "="]), VERSIONS)
RANGES = st.lists(BOUNDS, min_size=1, max_size=3).map(",".join)
BUILDS = st.from_regex(r"(py[0-9]{2,3}|h[0-9a-f]{7}|\*cuda\*)_[0-9]", fullmatch=True)
NAMES = st.from_regex(r"[a-z_][a-z0-9_.-]{0,12}[a-z0-9]", fullmatch=True)
CHANNELS = st.sampled_from(["", "conda-forge::", "pytorch::", "conda-forge/linux-64::", "conda-forge/label/x::"])
LINES = st.one_of(
    st.builds(lambda channel, name, version, build: f"{channel}{name}={version}={build}", CHANNELS, NAMES, VERSIONS, BUILDS),
    st.builds(lambda channel, name, versions: f"{channel}{name} {versions}", CHANNELS, NAMES, RANGES),
    st.builds(lambda channel, name, versions, build: f"{channel}{name} {versions} {build}", CHANNELS, NAMES, RANGES, BUILDS),
    st.builds(
        lambda channel, name, version: f"{channel}{name}{version}", CHANNELS, NAMES, BOUNDS.filter(lambda text: not text[0].isdigit())
    ),
)


@given(LINES)
@settings(max_examples=200, deadline=None)
def test_made_up_specifications_mean_the_same_to_both(text: str):
    assert as_read(text) == as_rattler_reads(text)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused_with_its_line(text: str):
    try:
        spec = ours(text)
    except LadingError as error:
        assert all(problem.origin == Origin("conda-packages.txt", 1) for problem in error.problems)  # noqa: PT017 -- either is right
    else:
        assert spec.name


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("nump y=1", "Write one package a line"),
        ("- numpy", "Write: numpy"),
        ("-c conda-forge", "conda-forge::numpy"),
        ("'numpy'", "Write: numpy"),
        ("numpy[extra]", "Write numpy here, and numpy[extra] among the pip requirements"),
        ("numpy[version='1'", "[version="),
        ("numpy[lizenz=MIT]", "Known keys: version"),
        ("numpy===1.2", "Write ==1.2."),
        ("numpy=", "Write numpy for any version"),
        ("numpy 1.2 b more", "one package a line"),
        ("numpy @ https://example.org/x.whl", "pip requirements"),
        ("git+https://example.org/x", "pip requirements"),
        ("numpy 1.2 b;d", "NAME=1.2=py310_0"),
        ("numpy[md5=12]", "md5="),
        ("numpy*", "NAME=1.2"),
        ("n\u00fcmpy", "Type the line anew"),
        ("https://example.org/linux-64/numpy.conda", "NAME-VERSION-BUILD"),
        ("https://example.org/linux-64/numpy-1-0.conda#xyz", "32 or 64"),
    ],
)
def test_what_conda_would_misread_or_refuse_is_refused_with_the_fix(text: str, instead: str):
    (problem,) = problems(lambda: ours(text))
    assert problem.rule == "conda-spec-invalid"
    assert instead in (problem.instead or "")
    assert problem.why


def test_a_file_is_named_by_its_url_with_its_hash():
    spec = ours("https://h.org/t/tok-123/c/linux-64/numpy-1.26.4-py310_0.tar.bz2#" + "a" * 32)
    assert (spec.name, spec.version, spec.build, spec.subdir, spec.md5) == ("numpy", "==1.26.4", "py310_0", "linux-64", "a" * 32)
    assert str(spec.url) == "https://h.org/t/****/c/linux-64/numpy-1.26.4-py310_0.tar.bz2"
    assert ours("https://h.org/c/noarch/a-b-1-0.conda#sha256:" + "B" * 64).sha256 == "b" * 64


def test_credentials_are_seen_by_nobody():
    files = MemoryFiles({})
    spec = read_spec("https://me:${PASSWORD}@h.org/t/${TOKEN}/c::x", Origin("f", 1), files, {"PASSWORD": "pa55word", "TOKEN": "tok-123"})
    assert spec.channel is not None
    assert spec.channel.reveal() == "https://me:pa55word@h.org/t/tok-123/c"
    assert spec.channel.without_credentials() == "https://h.org/c"
    shown = f"{spec.shown} {spec.as_json()} {spec!r} {spec.channel}"
    assert "pa55word" not in shown
    assert "tok-123" not in shown
    assert "${TOKEN}" in spec.shown
    plain = ours("https://h.org/t/tok-123/c::x")
    assert "tok-123" not in f"{plain.shown}{plain.raw}{plain!r}{plain.text_of_facts()}"


def test_a_variable_without_a_value_is_a_problem():
    (problem,) = problems(lambda: ours("https://h.org/t/${TOKEN}/c::x"))
    assert problem.rule == "variable-not-set"


def test_the_names_of_platforms_are_rattlers():
    for name in SUBDIRS:
        assert str(rattler.Subdir(name)) == name
