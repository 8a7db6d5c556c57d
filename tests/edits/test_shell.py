"""Commands of configurations and scripts, understood without running them."""

from __future__ import annotations

import contextlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.formats._pip_commands import meaning, mistaken_redirections
from lading.formats._shell import NotUnderstood, commands


def test_words_quotes_and_operators():
    found = commands("A=1 pip install 'a b' \"c\\\"d\" e\\ f && x 2>&1 ; y >> 'out file' # comment\nz \\\n  more\n")
    assert [one.words for one in found] == [("pip", "install", "a b", 'c"d', "e f"), ("x",), ("y",), ("z", "more")]
    assert found[0].assignments == ("A=1",)
    assert [(one.operator, one.target) for one in found[2].redirections] == [(">>", "out file")]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=5))
def test_quoted_words_are_read_back_as_a_shell_would(words: list[str]):
    if "=" in words[0]:
        return
    text = shlex.join(words)
    try:
        (found,) = commands(text)
    except NotUnderstood:
        assert words[0] in (
            "if",
            "then",
            "else",
            "elif",
            "fi",
            "for",
            "while",
            "until",
            "do",
            "done",
            "case",
            "esac",
            "function",
            "{",
            "}",
            "!",
            "[[",
        )
        return
    assert list(found.words) == words


@given(st.text(max_size=60))
def test_any_text_is_understood_or_said_not_to_be(text: str):
    for read in (commands, meaning):
        with contextlib.suppress(NotUnderstood):
            assert read(text) is not None
    assert all(">" in one or "<" in one for one in mistaken_redirections(text))


@pytest.mark.parametrize(
    ("text", "spoiled"),
    [
        ("pip install x>=1.2", ("x>=1.2",)),
        ("pip install -U a x<2 && pip3 install y>1", ("x<2", "y>1")),
        ("uv pip install x>=1.2", ("x>=1.2",)),
        ("sudo python3.9 -m pip install x[y]>=1.2", ("x[y]>=1.2",)),
        ("pip install 'x>=1.2' \"y<2\"", ()),
        ("pip install x > log.txt", ()),
        ("pip install x>log.txt", ()),
        ("echo x>=1.2", ()),
        ("pip install x~=1.2 y==1.0 z!=3", ()),
    ],
)
def test_requirements_that_a_shell_takes_apart(text: str, spoiled: tuple[str, ...]):
    assert mistaken_redirections(text) == spoiled
