"""Pins written into lines: the version changes, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.edits.changes import Overlay
from lading.edits.floating import Pin
from lading.edits.pinning import only_pinned, write_pins
from lading.edits.pins import pin_strings, pin_yaml, pinned
from lading.formats import requirements_txt
from lading.model.files import MemoryFiles
from lading.model.markers import marker_holds
from lading.model.target import Target


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy\n", "numpy==9.9\n"),
        ("numpy", "numpy==9.9"),
        ("  numpy  # the array one\n", "  numpy==9.9  # the array one\n"),
        ("numpy>=1.2,<2\n", "numpy==9.9\n"),
        ("numpy >= 1.2 , < 2 ; python_version<'3.9'  # why\n", "numpy==9.9 ; python_version<'3.9'  # why\n"),
        ("numpy~=1.2;python_version<'3'", "numpy==9.9;python_version<'3'"),
        ("Numpy[fast, small] (>=1.0)\r\n", "Numpy[fast, small]==9.9\r\n"),
        ("torch>=2 -f https://host/torch.html  # nightly\n", "torch==9.9 -f https://host/torch.html  # nightly\n"),
        ("corp --index-url https://host/simple\n", "corp==9.9 --index-url https://host/simple\n"),
        ("x==1.*\n", "x==9.9\n"),
        ("x!=1.5\n", "x==9.9\n"),
        ("numpy \\\n    >=1 \\\n    ; python_version > '3'\n", "numpy==9.9 ; python_version > '3'\n"),
    ],
)
def test_the_version_changes_and_nothing_else(line: str, expected: str):
    assert pinned(line, "9.9") == expected


@pytest.mark.parametrize(
    "line", ["a @ https://host/a-1.whl", "-e .", "./folder", "git+https://host/x", "--pre", "# numpy", "", "numpy numpy"]
)
def test_a_line_that_is_no_plain_requirement_is_left_alone(line: str):
    assert pinned(line, "9.9") is None


def test_items_of_cog_yaml_keep_their_quotes_and_comments():
    text = """# my model
build:
  python_packages:   # keep me
    - numpy>=1   # arrays
    - "torch>=2; sys_platform == 'linux'"
    - 'pillow'
    - exact==1.0
predict: predict.py:Predictor
"""
    change, left = pin_yaml(
        "cog.yaml", text.encode(), {4: [("numpy", "1.5")], 5: [("torch", "2.1")], 6: [("pillow", "9")], 7: [("other", "1")]}
    )
    assert left == (7,)
    assert change is not None
    assert change.after.decode() == text.replace("numpy>=1 ", "numpy==1.5 ").replace("torch>=2;", "torch==2.1;").replace(
        "'pillow'", "'pillow==9'"
    )


def test_a_flow_list_and_windows_line_ends():
    text = 'build:\r\n  python_packages: ["numpy>=1", "pandas"]\r\n'
    change, left = pin_yaml("cog.yaml", text.encode("utf-8-sig"), {2: [("numpy", "1.5"), ("pandas", "2")]})
    assert (left, change and change.after) == (
        (),
        text.replace("numpy>=1", "numpy==1.5").replace("pandas", "pandas==2").encode("utf-8-sig"),
    )


def test_strings_of_pyproject():
    text = '[project]\ndependencies = ["numpy>=1", \'pandas[x]<2; python_version > "3"\']\n'
    change, left = pin_strings("pyproject.toml", text.encode(), {2: [("numpy", "1.5"), ("pandas", "1.9"), ("poetry", "1")]})
    assert left == (2,)
    assert change is not None
    assert change.after.decode() == '[project]\ndependencies = ["numpy==1.5", \'pandas[x]==1.9; python_version > "3"\']\n'


def pins_of(text: str, version: str = "1.2.3") -> tuple[MemoryFiles, tuple[Pin, ...]]:
    files = MemoryFiles({"requirements.txt": text})
    declared = requirements_txt.parse("requirements.txt", files).requirements
    return files, tuple(Pin(one, version) for one in declared if one.name and not one.is_pinned)


def test_the_diff_shows_the_lines_and_hides_credentials():
    files, found = pins_of("--index-url https://bob:s3cret@host/simple\nnumpy  # why\npandas==1.0\n")
    pinning = write_pins(found, files, None)
    (change,) = pinning.changes
    assert change.diff == (
        "--- a/requirements.txt\n+++ b/requirements.txt\n@@ -1,3 +1,3 @@\n"
        " --index-url https://bob:****@host/simple\n-numpy  # why\n+numpy==1.2.3  # why\n pandas==1.0\n"
    )
    assert b"s3cret" in change.after


def test_an_utf_16_file_stays_one():
    text = "numpy>=1  # größer\r\n"
    files = MemoryFiles({"requirements.txt": text.encode("utf-16")})
    found = tuple(Pin(one, "2") for one in requirements_txt.parse("requirements.txt", files).requirements)
    (change,) = write_pins(found, files, None).changes
    assert change.after.decode("utf-16") == "numpy==2  # größer\r\n"


def test_two_locks_that_disagree_about_a_shared_line_write_nothing():
    files, (pin,) = pins_of("numpy\n")
    pinning = write_pins([pin, Pin(pin.declared, "9.9")], files, None)
    assert (pinning.changes, pinning.written) == ((), ())
    assert pinning.left[0].because == "two locks give it 1.2.3 and 9.9"


def test_a_form_that_is_not_known_is_left_with_the_words_to_write():
    files, (pin,) = pins_of("numpy\n")
    other = MemoryFiles({"Pipfile": "numpy = '*'"})
    declared = type(pin.declared)(raw=pin.declared.raw, origin=type(pin.declared.origin)("Pipfile", 1), name="numpy")
    assert "write numpy==1.2.3 there" in write_pins([Pin(declared, "1.2.3")], other, None).left[0].because
    assert files.read("Pipfile") is None


names = st.sampled_from(["numpy", "Pillow", "ruamel.yaml", "zope.interface", "a", "torch2"])
specifiers = st.sampled_from(["", ">=1", " >= 1.0 , <2", "~=1.4.2", "!=1.3", "==1.*", "<2,>=1", " (>=1)", "==1.0", "===1.0"])
extras = st.sampled_from(["", "[x]", " [x,y] "])
markers = st.sampled_from(["", "; python_version > '3'", ' ; sys_platform == "linux"', " ;python_version<'4' and os_name=='posix'"])
comments = st.sampled_from(["", "  # why", " #", "\t# a==1"])
options = st.sampled_from(["", " --index-url https://host/simple", " -f https://host/links"])
ends = st.sampled_from(["\n", "\r\n"])


@st.composite
def lines(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(["", "# comment", "--pre", "other @ https://host/other-1.0.tar.gz"])) + draw(ends)
    marker = draw(markers)
    tail = draw(options) if not marker else ""
    return (
        draw(names)
        + draw(extras)
        + draw(specifiers)
        + draw(st.sampled_from(["", " \\\n   "]))
        + marker
        + tail
        + draw(comments)
        + draw(ends)
    )


def _name(line: str) -> str:
    return re.split(r"[\s\[=<>~!(;#@\\]", line)[0].lower()


@given(st.lists(lines(), max_size=8, unique_by=_name))
def test_pins_never_change_what_a_file_says_but_for_the_versions(written: list[str]):
    text = "".join(written)
    files, found = pins_of(text)
    pinning = write_pins(found, files, None)
    before = requirements_txt.parse("requirements.txt", files)
    after = requirements_txt.parse("requirements.txt", Overlay(files, pinning.changes))
    assert not pinning.left
    assert only_pinned(before.requirements, after.requirements, pinning.written)
    assert after.is_pinned
    assert after.options == before.options
    for change in pinning.changes:
        old, new = (change.before or b"").decode(), change.after.decode()
        assert [line.partition("#")[2] for line in old.splitlines() if "#" in line] == [
            line.partition("#")[2] for line in new.splitlines() if "#" in line
        ]


LINUX = Target(python="3.9.18", platform="x86_64-manylinux_2_28")


@pytest.mark.parametrize(
    ("marker", "platform", "true"),
    [
        ("python_version < '3.10'", "x86_64-manylinux_2_28", True),
        ("python_full_version == '3.9.18'", "x86_64-manylinux_2_28", True),
        ("sys_platform == 'darwin'", "x86_64-manylinux_2_28", False),
        ("sys_platform == 'darwin' and platform_machine == 'arm64'", "aarch64-apple-darwin", True),
        ("os_name == 'nt'", "x86_64-pc-windows-msvc", True),
        ("platform_machine == 'aarch64'", "aarch64-manylinux_2_28", True),
    ],
)
def test_markers_are_asked_for_the_target_and_not_for_this_machine(marker: str, platform: str, *, true: bool):
    assert marker_holds(marker, Target(python="3.9.18", platform=platform)) is true
