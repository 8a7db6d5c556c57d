"""Whatever the file: an answer or problems, never an exception; and layout never changes meaning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from lading.formats import cog_yaml, cortex_yaml, pyproject_toml, python_version, requirements_txt
from lading.formats._requirement import _PLAIN, canonical
from lading.model.files import MemoryFiles, ProjectFiles
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
    unique_by=lambda line: canonical(line.partition("[")[0].partition(";")[0].strip("<>=!~ 0123456789.")),
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
