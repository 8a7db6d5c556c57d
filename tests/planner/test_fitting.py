"""Which Python fits everything that is pinned, and what is said where none does."""

from __future__ import annotations

from lading.model.problems import ExitCode, Problem
from lading.model.requirements import Declared
from lading.model.target import PythonRequest, Target
from lading.planner.fitting import MINORS, Support, advised, fitting, newest
from tests.support.plans import declared

LINUX = "x86_64-manylinux_2_36"
ANY = frozenset(MINORS)


def support(text: str, line: int, wheels: str = "", source: str = "") -> Support:
    return Support(declared=_line(text, line), wheels=_minors(wheels), source=_minors(source))


def _line(text: str, line: int) -> Declared:
    return declared(text, line)


def _minors(text: str) -> frozenset[str]:
    if text == "any":
        return ANY
    return frozenset(f"3.{number}" for number in text.split())


TORCH = support("torch==1.7.1", 1, "6 7 8 9")
NUMPY = support("numpy==1.19.5", 2, "6 7 8 9", "6 7 8 9 10 11")
PURE = support("click==8.0.0", 3, "any", "any")
NEW = support("scipy==1.14.0", 4, "10 11 12")


def test_wheels_of_everything_come_before_building_from_source():
    found = fitting([TORCH, NUMPY, PURE], "", LINUX)
    assert (found.minors, found.built) == (("3.6", "3.7", "3.8", "3.9"), False)
    found = fitting([NUMPY, NEW], "", LINUX)
    assert (found.minors, found.built) == (("3.10", "3.11"), True)
    assert fitting([TORCH, PURE], ">=3.8,<3.11", LINUX).minors == ("3.8", "3.9")
    assert fitting([TORCH, NEW], "", LINUX).minors == ()
    assert fitting([], ">=3.9,<3.11", LINUX).minors == ("3.9", "3.10")


def test_a_pin_counts_only_where_its_marker_holds():
    old = support("dataclasses==0.8; python_version < '3.7'", 1, "6")
    windows = support("pywin32==306; sys_platform == 'win32'", 2, "")
    assert fitting([old, windows, NEW], "", LINUX).minors == ("3.10", "3.11", "3.12")


def test_the_newest_python_that_is_here_is_chosen_and_the_reason_names_the_line():
    supports = [TORCH, NUMPY, PURE]
    answer = newest(fitting(supports, "", LINUX), supports, ["3.8.18", "3.9.18", "3.11.7"], LINUX)
    assert isinstance(answer, PythonRequest)
    assert answer.specifier == "==3.9.*"
    assert answer.text == (
        "it is the newest Python here that has wheels of all 3 pinned packages; torch==1.7.1 (requirements.txt:1) rules out 3.11"
    )
    assert str(answer.origin) == "requirements.txt:1"


def test_without_pins_the_newest_python_is_chosen():
    answer = newest(fitting([PURE], "", LINUX), [PURE], ["3.9.18", "3.12.1"], LINUX)
    assert isinstance(answer, PythonRequest)
    assert (answer.specifier, answer.text) == ("==3.12.*", "it is the newest Python here that has wheels of the pinned package")


def test_a_python_that_fits_and_is_not_here_is_named():
    supports = [TORCH, NUMPY, PURE]
    answer = newest(fitting(supports, "", LINUX), supports, ["3.11.7", "3.12.1"], LINUX)
    assert isinstance(answer, Problem)
    assert answer.rule == "python-for-pins-missing"
    assert answer.what == "Python 3.6 to 3.9 fits everything that is pinned, and none of them is here."
    assert answer.why == "Here: 3.11 to 3.12. torch==1.7.1 has wheels for Python 3.6 to 3.9."
    assert "Install Python 3.9" in str(answer.instead)


def test_where_none_fits_the_closest_is_named_with_the_lines_against_it():
    supports = [TORCH, NUMPY, NEW]
    answer = newest(fitting(supports, "", LINUX), supports, ["3.9.18", "3.11.7"], LINUX)
    assert isinstance(answer, Problem)
    assert (answer.rule, str(answer.origin)) == ("no-python-fits", "requirements.txt:1")
    assert answer.why == "Python 3.11 comes closest; torch==1.7.1 (requirements.txt:1) is not for it."
    assert str(answer.detail).splitlines() == [
        "torch==1.7.1   requirements.txt:1  wheels for Python 3.6 to 3.9",
        "numpy==1.19.5  requirements.txt:2  wheels for Python 3.6 to 3.9, source for Python 3.6 to 3.11",
        "scipy==1.14.0  requirements.txt:4  wheels for Python 3.10 to 3.12",
    ]


def test_what_a_pin_has_is_said_in_words():
    assert PURE.needs == "wheels for any Python"
    assert support("a==1", 1, " ".join(str(minor) for minor in range(8, 31))).needs == "wheels for Python 3.8 and newer"
    assert support("a==1", 1, "", "6 7").needs == "source for Python 3.6 to 3.7"
    assert support("a==1", 1).needs == "no files for any Python"


def test_a_failed_resolution_is_told_the_python_that_would_do():
    problem = Problem(rule="no-wheel-for-python", what="x", instead="y", detail="uv's words", code=ExitCode.RESOLUTION)
    told = advised(problem, [TORCH, NUMPY, PURE], Target(python="3.11.7", platform=LINUX))
    assert told.instead == "Python 3.6 to 3.9 satisfies every pin: --python 3.9, or a .python-version file."
    assert str(told.detail).splitlines() == ["requirements.txt:1: torch==1.7.1 has wheels for Python 3.6 to 3.9", "", "uv's words"]
    told = advised(problem, [TORCH, NEW], Target(python="3.11.7", platform=LINUX))
    assert str(told.instead).startswith("No Python satisfies every pin. Use Python 3.12, and another version of torch.")


def test_a_failure_that_the_python_is_not_to_blame_for_stays_as_it_is():
    problem = Problem(rule="build-failed", what="x", instead="y")
    assert advised(problem, [NUMPY], Target(python="3.9.1", platform=LINUX)) is problem
    other = Problem(rule="network-down", what="x", instead="y")
    assert advised(other, [TORCH], Target(python="3.11.7", platform=LINUX)) is other
