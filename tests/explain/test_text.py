"""What a person reads: complete without colour, within a narrow terminal."""

import io

import pytest

from lading.explain.progress import PlainReporter, make_reporter
from lading.explain.style import Style, columns_of_terminal, style_for
from lading.explain.text import render_decision, render_decisions, render_problem, render_problems
from lading.model.decisions import Decision, Kind
from lading.model.events import Event, Phase
from lading.model.origin import Origin
from lading.model.problems import ExitCode, Problem

PLAIN = Style(colour=False, width=60)

TORCH = Decision(
    rule="torch-build-chosen",
    kind=Kind.CHOSEN,
    subject="torch",
    asked="torch==1.11.0",
    chose="torch==1.11.0+cpu",
    because="the target has no GPU",
    origin=Origin("requirements.txt", 2),
    instead="torch==1.11.0+cu113",
)


def test_a_decision_says_asked_chosen_why_where_and_what_to_write_instead():
    text = render_decision(TORCH, PLAIN)
    for part in ("torch==1.11.0 -> torch==1.11.0+cpu", "the target has no GPU", "requirements.txt:2", "torch-build-chosen", "+cu113"):
        assert part in text


def test_a_decision_survives_the_lock_file():
    assert Decision.from_json(TORCH.as_json()) == TORCH


def test_an_origin_without_a_line_survives_the_lock_file():
    decision = Decision(rule="r", kind=Kind.KEPT, subject="s", asked="a", chose="a", because="b", origin=Origin("the command line"))
    assert Decision.from_json(decision.as_json()) == decision


def test_choices_come_before_advice():
    advice = Decision(rule="versions-float", kind=Kind.ADVICE, subject="x", asked="x>=1", chose="1.2", because="it floats")
    text = render_decisions([advice, TORCH], PLAIN)
    assert text.index("torch") < text.index("floats")


def test_a_problem_names_place_reason_and_fix():
    problem = Problem(
        rule="unknown-key",
        what='The key "pyhton_version" is not known.',
        origin=Origin("cog.yaml", 3),
        why="Unknown keys are never dropped in silence.",
        instead="Write python_version.",
        detail="one\ntwo",
    )
    text = render_problem(problem, PLAIN)
    assert text.startswith("error: cog.yaml:3: The key")
    assert "why: Unknown keys" in text
    assert "fix: Write python_version." in text
    assert "    one\n    two" in text


def test_several_problems_are_counted():
    problems = [Problem(rule="a", what=f"Number {number} is wrong.") for number in range(3)]
    assert render_problems(problems, PLAIN).endswith("3 problems.")


def test_nothing_is_wider_than_a_narrow_terminal():
    style = Style(colour=False, width=40)
    problem = Problem(rule="a", what="word " * 40, why="why " * 40, instead="fix " * 40, origin=Origin("cog.yaml", 1))
    for text in (render_problem(problem, style), render_decision(TORCH, style)):
        assert max(len(line) for line in text.splitlines()) <= 40


def test_json_of_a_problem_names_the_exit_code():
    record = Problem(rule="a", what="b", code=ExitCode.LOCK).as_json()
    assert record["exit_code"] == 4
    assert record["code"] == "lock"


def test_no_color_and_pipes_mean_no_escape_codes():
    stream = io.StringIO()
    assert style_for(stream, {}).colour is False
    assert Style(colour=False).paint("x", "red") == "x"
    assert Style(colour=True).paint("x", "red") == "\x1b[31mx\x1b[0m"


@pytest.mark.parametrize(("said", "columns"), [("97", 97), ("0", None), ("²", None), ("wide", None), ("", None)])
def test_columns_that_are_no_number_are_passed_over(said, columns):
    found = columns_of_terminal({"COLUMNS": said})
    assert found == columns if columns else found in (None, columns_of_terminal({}))


def test_a_plain_log_shows_steps_and_hides_tool_output_unless_verbose():
    for verbose, seen in ((False, False), (True, True)):
        stream = io.StringIO()
        reporter = PlainReporter(stream, PLAIN, verbose=verbose)
        reporter(Event(step="Resolving", phase=Phase.STARTED))
        reporter(Event(step="Resolving", phase=Phase.OUTPUT, message="a tool said this"))
        reporter(Event(step="Resolving", phase=Phase.FINISHED, message="12 packages"))
        text = stream.getvalue()
        assert "Resolving" in text
        assert "12 packages" in text
        assert ("a tool said this" in text) is seen


def test_json_progress_is_one_object_a_line():
    import json

    stream = io.StringIO()
    reporter = make_reporter("json", stream, PLAIN)
    reporter(Event(step="Installing", phase=Phase.PROGRESS, done=1, total=2, unit="packages"))
    assert json.loads(stream.getvalue()) == {
        "event": {"step": "Installing", "phase": "progress", "done": 1, "total": 2, "unit": "packages"}
    }


def test_quiet_progress_says_nothing():
    stream = io.StringIO()
    make_reporter("quiet", stream, PLAIN)(Event(step="Resolving", phase=Phase.STARTED))
    assert stream.getvalue() == ""
