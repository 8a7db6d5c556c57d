"""``${VARIABLES}`` in requirements: used, and never shown."""

from __future__ import annotations

import json

import pytest

from lading.model.secrets import Redactor
from tests.formats.reading import one, read, refused

SECRET = "s3cr3t-t0ken"


def test_a_token_in_a_url_is_used_and_shown_by_name_only():
    declared = one("a @ https://${TOKEN}@example.org/a.zip", TOKEN=SECRET)
    assert declared.reveal() == f"a @ https://{SECRET}@example.org/a.zip"
    assert declared.pep508 == "a @ https://${TOKEN}@example.org/a.zip"
    assert declared.raw.reveal() == "a @ https://${TOKEN}@example.org/a.zip"


@pytest.mark.parametrize(
    "line",
    [
        "-i https://${TOKEN}@example.org/simple",
        "-i https://user:${TOKEN}@example.org/simple",
        "--extra-index-url https://example.org/${TOKEN}/simple",
        "-f https://example.org/?key=${TOKEN}",
        "a==1 --index-url=https://${TOKEN}:x@example.org/",
        "git+https://${TOKEN}@example.org/a.git@v1#egg=a",
        "https://example.org/${TOKEN}/a-1.0-py3-none-any.whl",
        "-e git+https://x:${TOKEN}@example.org/a.git#egg=a",
        "-i https://a.org\n-i https://example.org/${TOKEN}",
        "--extra-index-url https://example.org/${TOKEN}\n-i https://a.org",
    ],
)
def test_a_token_appears_in_no_rendering_wherever_it_stands(line):
    declaration = read(line, TOKEN=SECRET)
    assert SECRET not in json.dumps(declaration.as_json())
    assert SECRET not in repr(declaration)
    assert SECRET not in str(declaration)


@pytest.mark.parametrize(
    "line",
    [
        "https://${TOKEN}@[::1/a",
        "a @ git+git://${TOKEN}@github.com/a",
        "hg+https://${TOKEN}@example.org/a",
        "-e https://${TOKEN}@example.org/a.zip",
        "-r https://${TOKEN}@example.org/r.txt",
        "./${TOKEN}",
        "-i ${TOKEN}",
        "-f ${TOKEN}",
        "- https://${TOKEN}@example.org",
        "--unknown=${TOKEN}",
        "a==${TOKEN}",
        "a b @ https://u:${TOKEN}@example.org",
    ],
)
def test_a_token_appears_in_no_problem(line):
    problem = refused(line, TOKEN=SECRET)
    assert SECRET not in json.dumps(problem.as_json())


@pytest.mark.parametrize(
    "line", ["a @ https://u:PASSWORD@example.org/a b", "https://u:PASSWORD@[::1/", "-e https://u:PASSWORD@example.org/a"]
)
def test_a_password_in_the_file_appears_in_no_problem(line):
    assert "PASSWORD" not in json.dumps(refused(line).as_json())


def test_output_of_other_programs_is_masked_for_a_token_anywhere_in_a_url():
    index = read("-i https://example.org/${TOKEN}/simple", TOKEN=SECRET).options.index_url
    assert index is not None
    assert SECRET not in Redactor([index])(f"could not fetch https://example.org/{SECRET}/simple")


def test_a_variable_that_names_the_host_stays_readable():
    index = read("-i https://${HOST}/simple", HOST="example.org").options.index_url
    assert index is not None
    assert Redactor([index])("example.org is down") == "example.org is down"
    assert (index.reveal(), index.has_credentials) == ("https://example.org/simple", False)


@pytest.mark.parametrize("value", [{}, {"TOKEN": ""}])
def test_a_variable_without_a_value_is_named_with_the_line(value):
    problem = refused("a\nb @ https://${TOKEN}@example.org/b.zip", **value)
    assert problem.rule == "variable-not-set"
    assert str(problem.origin) == "requirements.txt:2"
    assert "TOKEN" in problem.what
    assert "--secret id=TOKEN" in (problem.instead or "")


def test_a_variable_in_lower_case_is_refused_because_pip_does_not_expand_it():
    assert refused("-i https://${token}@example.org/", token="x").instead == "Rename the variable to TOKEN and write ${TOKEN}."


def test_a_value_that_looks_like_a_variable_is_not_expanded_again():
    declared = one("a @ https://example.org/${A}.zip", A="${B}", B="wrong")
    assert declared.reveal() == "a @ https://example.org/${B}.zip"


def test_other_dollars_are_left_alone():
    assert one("a @ https://example.org/$A.zip").reveal() == "a @ https://example.org/$A.zip"


def test_a_variable_may_hold_a_version_or_an_option():
    assert one("${NAME}==${VERSION}", NAME="flask", VERSION="3.0").pep508 == "flask==3.0"
    assert read("${ARGS}", ARGS="--pre --no-index").options.no_index is True


def test_git_as_a_user_is_no_secret_when_a_variable_is():
    url = one("a @ git+ssh://git@example.org/${TOKEN}/a.git", TOKEN=SECRET).url
    assert url is not None
    assert Redactor([url])(f"git clone git@example.org/{SECRET}") == "git clone git@example.org/****"
