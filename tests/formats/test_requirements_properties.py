"""Whatever the file: an answer or problems, never an exception; and layout never changes meaning."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from lading.formats import cog_yaml, cortex_yaml, pyproject_toml, python_version, requirements_txt
from lading.formats._requirement import _PLAIN, _normal_marker
from lading.model.files import MemoryFiles, ProjectFiles
from lading.model.names import canonical
from lading.model.problems import LadingError, Problem
from lading.model.requirements import Declaration
from tests.formats.reading import read

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda name: (
        canonical(name) not in ("python", "pkg-resources", "sklearn")
        and not name.endswith(("zip", "tar", "tgz", "whl", "tbz", "txz", "tlz"))
    )
)
VERSIONS = st.from_regex(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){0,3}((a|b|rc)[0-9])?(\.post[0-9])?(\.dev[0-9])?", fullmatch=True)
CLAUSES = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["==", ">=", "<=", "!=", "<", ">"]), VERSIONS),
    st.builds("=={}+cu{}".format, VERSIONS, st.integers(100, 130)),
    st.builds("=={}.*".format, st.from_regex(r"[0-9](\.[0-9]){0,2}", fullmatch=True)),
)
MARKERS = st.sampled_from(["", ' ; python_version < "3.9"', "; sys_platform=='win32'", ' ; os_name == "nt" and python_version>="3"'])
REQUIREMENTS = st.builds(
    "{}{}{}{}".format,
    NAMES,
    st.sampled_from(["", "[a]", "[a,b_c]"]),
    st.lists(CLAUSES, max_size=3).map(",".join),
    MARKERS,
)
# Distinct names: two pins of one name are a problem of their own.
FILES = st.lists(
    REQUIREMENTS,
    min_size=1,
    max_size=6,
    unique_by=lambda line: canonical(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]),
)
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="abz019.-_[](){}<>=!~^;,:@#\\/'\" \t\n$&*+|?%", max_size=60),
    st.lists(
        st.one_of(
            REQUIREMENTS,
            st.sampled_from(
                [
                    "-r",
                    "-c x",
                    "-e",
                    "-i",
                    "--hash=",
                    "-f .",
                    "git+https://",
                    "file:",
                    "http://[",
                    "a @ ",
                    "${A}",
                    "\\",
                    "#",
                    "-",
                    "--",
                    ".[",
                    "b'",
                    "x.whl",
                ]
            ),
            st.text(max_size=8),
        ),
        max_size=6,
    ).map("\n".join),
)
PARSERS: dict[str, Callable[[str, ProjectFiles], object]] = {
    "requirements.txt": requirements_txt.parse,
    "cog.yaml": cog_yaml.parse_config,
    "cortex.yaml": cortex_yaml.parse_config,
    "pyproject.toml": pyproject_toml.parse,
    ".python-version": python_version.parse,
    "runtime.txt": python_version.parse,
}
YAML = st.text(alphabet="ab01:-[]{}&*!|>'\"%@`#,?~<. \t\n\\\x07é", max_size=60)
COG = st.lists(
    st.sampled_from(
        [
            "build:",
            "  python_packages:",
            "    - a==1",
            "    - -r x",
            "  gpu: yes",
            "  run:",
            "predict: a.py:B",
            "run: 1",
            "environment:",
            " - A=b",
            "- x",
            "\t",
            "x",
        ]
    ),
    max_size=9,
).map("\n".join)
CORTEX = st.lists(
    st.sampled_from(
        [
            "- name: a",
            "  kind: RealtimeAPI",
            "  kind: BatchAPI",
            "  predictor:",
            "    type: python",
            "    path: a.py",
            "    config: {a: 1}",
            "    env: [1]",
            "    dependencies: {pip: x}",
            "  compute: {gpu: 1, mem: x}",
            "  autoscaling: {window: 3s, min_replicas: a}",
            "  networking: 3",
            "  update_strategy: {max_surge: 0}",
            "- 3",
        ]
    ),
    max_size=12,
).map("\n".join)
TOML = st.lists(
    st.sampled_from(
        [
            "[project]",
            "dependencies = ['a==1', \"b\"]",
            "dependencies = 3",
            "dynamic = ['dependencies']",
            "requires-python = 'x'",
            "[dependency-groups]",
            "lading = ['a', {include-group = 'lading'}, 3]",
            "[tool.lading]",
            "predict = 'x'",
            "python = 3.1",
            "[tool.uv]",
            "index = [{url='x'}]",
            "[[tool.uv.index]]",
            '"a.b".c = """x\n"""',
            "[tool.poetry.dependencies]",
            "tool = 1",
        ]
    ),
    max_size=8,
).map("\n".join)


def _refusals(path: str, files: ProjectFiles) -> tuple[Problem, ...]:
    """The problems of a file, none when it is read; any other exception fails the test."""
    try:
        PARSERS[path](path, files)
    except LadingError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("path", PARSERS)
@given(content=st.one_of(st.binary(max_size=60), TEXTS.map(lambda text: text.encode("utf-8", "replace")), YAML.map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_no_content_makes_a_reader_crash(path, content):
    files = MemoryFiles({path: content, "a.py": "", "x": "", "setup.py": ""})
    assert all(problem.origin is not None for problem in _refusals(path, files))


@pytest.mark.parametrize(("path", "texts"), [("cog.yaml", COG), ("cortex.yaml", CORTEX), ("pyproject.toml", TOML)])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_valid_lines_makes_a_reader_crash(path, texts, data):
    files = MemoryFiles({path: data.draw(texts), "a.py": "", "x": ""})
    assert all(problem.origin is not None for problem in _refusals(path, files))


def _meaning(declaration: Declaration) -> list[tuple[object, ...]]:
    return [(one.name, one.specifier, one.extras, one.marker, one.hashes) for one in declaration.requirements]


@given(lines=FILES, data=st.data())
@settings(max_examples=150, deadline=None)
def test_layout_never_changes_meaning(lines, data):
    expected = _meaning(read("\n".join(lines)))
    decorated = []
    for line in lines:
        before = data.draw(st.sampled_from(["", "\n", "# note\n", "  ", "\t", "# note \\\n"]))
        after = data.draw(st.sampled_from(["", "  ", "  # note", "\t#", " \\\n", "\n# note"]))
        decorated.append(before + line + after)
    text = data.draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(decorated).rstrip("\\\n ") + data.draw(st.sampled_from(["", "\n"]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    if " \\\n" in text:
        text = text.replace(" \\\n", " \\\n\n")
    assert _meaning(read(text.encode(encoding))) == expected


@given(lines=FILES, data=st.data())
@settings(max_examples=100, deadline=None)
def test_splitting_a_file_into_includes_never_changes_meaning(lines, data):
    split = data.draw(st.integers(0, len(lines)))
    files = {"sub/more.txt": "\n".join(lines[split:])}
    assert _meaning(read("\n".join([*lines[:split], "-r sub/more.txt"]), files)) == _meaning(read("\n".join(lines)))


OPTIONS = st.sampled_from(
    [
        "--index-url https://user:pw@a.example/simple",
        "--extra-index-url https://b.example/simple",
        "-f https://c.example/links.html",
        "--no-index",
        "--pre",
        "--prefer-binary",
        "--no-binary numpy,scipy",
        "--only-binary :all:",
        "--trusted-host a.example",
    ]
)
PLACES = st.builds(
    "pkg{} @ {}".format,
    st.integers(100, 999),
    st.sampled_from(
        [
            "https://user:pw@x.example/a.zip#sha256=aa",
            "git+https://x.example/a@v1#subdirectory=b",
            "git+ssh://git@x.example/a.git",
            "file:./lib",
        ]
    ),
)
HASHED = st.builds("pin{}==1.0 --hash=sha256:{}".format, st.integers(100, 999), st.from_regex(r"[0-9a-f]{8}", fullmatch=True))
WHOLE = st.builds(
    lambda options, lines, places, hashed: [*options, *lines, *places, *hashed],
    st.lists(OPTIONS, max_size=4),
    FILES,
    st.lists(PLACES, max_size=2, unique_by=lambda line: line[:6]),
    st.lists(HASHED, max_size=2, unique_by=lambda line: line[:6]),
)


def _written(declaration: Declaration) -> str:
    """A declaration as a requirements file."""
    options = declaration.options
    lines = [f"--index-url {options.index_url.reveal()}"] if options.index_url else []
    lines += [f"--extra-index-url {url.reveal()}" for url in options.extra_index_urls]
    lines += [f"--find-links {url.reveal()}" for url in options.find_links]
    lines += [f"--trusted-host {host}" for host in options.trusted_hosts]
    flags = {"--no-index": options.no_index, "--pre": options.pre, "--prefer-binary": options.prefer_binary}
    lines += [flag for flag, on in flags.items() if on]
    binary = [("--no-binary", name) for name in options.no_binary] + [("--only-binary", name) for name in options.only_binary]
    lines += [" ".join(pair) for pair in sorted(binary, key=lambda pair: pair[1] != ":all:")]  # which empties the other list
    for declared in declaration.requirements:
        named = f"{declared.name} @ file:./{declared.path}" if declared.path and declared.name else declared.reveal()
        lines.append(named + "".join(f" --hash={value}" for value in declared.hashes))
    return "\n".join(lines)


@given(lines=WHOLE)
@settings(max_examples=150, deadline=None)
def test_what_was_read_can_be_written_and_read_again(lines):
    files = {"lib/setup.py": ""}
    first = read("\n".join(lines), files)
    again = read(_written(first), files)
    assert _meaning(again) == _meaning(first)
    assert again.options == first.options
    assert [declared.url for declared in again.requirements] == [declared.url for declared in first.requirements]
    assert _written(again) == _written(first)


@given(line=REQUIREMENTS)
@settings(max_examples=300, deadline=None)
def test_what_is_read_is_what_packaging_reads(line):
    (declared,) = read(line).requirements
    known = Requirement(line)
    assert declared.name == canonical(known.name)
    assert SpecifierSet(declared.specifier) == known.specifier
    assert set(declared.extras) == known.extras
    assert declared.marker == (str(known.marker) if known.marker else None)
    assert _meaning(read(declared.pep508)) == _meaning(read(line))


@given(name=NAMES, version=VERSIONS, label=st.sampled_from(["", "+cpu", "+cu121"]))
@settings(max_examples=100, deadline=None)
def test_an_exact_pin_is_never_changed(name, version, label):
    (declared,) = read(f"{name} == {version}{label}").requirements
    assert declared.specifier == f"=={version}{label}"
    assert declared.is_pinned


@given(text=st.text(alphabet="ab01.-_[], <>=!~+*rcpostdev", max_size=25))
@settings(max_examples=500, deadline=None)
def test_the_fast_path_accepts_only_what_packaging_accepts(text):
    if _PLAIN.fullmatch(text):
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise AssertionError(text) from error


VARIABLES = (
    *("python_version", "python_full_version", "os_name", "sys_platform", "platform_machine", "platform_system", "platform_release"),
    *("platform_version", "platform_python_implementation", "implementation_name", "implementation_version"),
    *("extra", "os.name", "python_implementation", "extras", "nothing"),
)
OPERATORS = ("==", "!=", ">=", "<=", ">", "<", "~=", "===", "in", "=", "=>")


@given(
    variable=st.sampled_from(VARIABLES),
    operator=st.sampled_from(OPERATORS),
    value=st.one_of(st.sampled_from(["3.8", "linux", "win32", "x86_64", ""]), st.text(alphabet="3.ab'\" +_-", max_size=6)),
    quote=st.sampled_from(["'", '"']),
    space=st.sampled_from(["", " ", "  ", "\t"]),
)
@settings(max_examples=200, deadline=None)
def test_the_fast_path_writes_markers_as_packaging_does(variable, operator, value, quote, space):
    text = f"{variable}{space}{operator}{space}{quote}{value}{quote}"
    found = _normal_marker(text)
    try:
        assert found == str(Marker(text))
    except InvalidMarker:
        assert found is None
