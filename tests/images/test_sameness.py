"""What a machine adds to an image of its own is as near to the lock as it can be, and told where it is not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from lading.images.media import Compression
from lading.images.sameness import choose_compiler, compressor_decisions
from lading.model.target import Interpreter
from tests.images.support import PROJECT, Command, write


def _python(version: str) -> Interpreter:
    return Interpreter(path=f"/python{version}", version=version)


@pytest.mark.parametrize(
    ("own", "here", "wanted", "chosen", "told"),
    [
        ("3.11.7", [], "3.11.7", "3.11.7", None),
        ("3.11.9", ["3.11.9", "3.11.7"], "3.11.7", "3.11.7", None),
        ("3.11.9", ["3.12.1", "3.11.9"], "3.11.7", "3.11.9", "bytecode-of-another-release"),
        (None, ["3.12.1", "3.11.9"], "3.11.7", "3.11.9", "bytecode-of-another-release"),
        (None, ["3.11.9"], "3.11", "3.11.9", None),
        ("3.12.1", ["3.12.1"], "3.11.7", None, "bytecode-left-out"),
    ],
)
def test_modules_are_compiled_by_the_release_of_the_lock_where_that_is_here(
    own: str | None, here: list[str], wanted: str, chosen: str | None, told: str | None
) -> None:
    found = choose_compiler(_python(own) if own else None, lambda: map(_python, here), wanted)
    assert (found.interpreter.version if found.interpreter else None) == chosen
    assert [decision.rule for decision in found.decisions] == ([told] if told else [])


def test_a_zlib_that_writes_other_bytes_is_told() -> None:
    assert compressor_decisions(Compression.GZIP, "1.3.1") == ()
    assert compressor_decisions(Compression.ZSTD, "1.3.1.zlib-ng") == ()
    (told,) = compressor_decisions(Compression.GZIP, "1.3.1.zlib-ng")
    assert told.rule == "compressed-by-zlib-ng"


def test_a_build_says_that_another_release_compiles(lading: Command, base: Path, tmp_path: Path) -> None:
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    lading("lock", project)
    lock = project / "pylock.lading.toml"
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lock.write_text(re.sub(rf'python = "{re.escape(minor)}\.\d+"', f'python = "{minor}.99"', lock.read_text()))
    words = ["build", project, "-t", "model:v1", "--base", base, "--frozen"]
    ran = lading(*words)
    assert "bytecode-of-another-release" in ran.err
    assert f"{minor}.99" in ran.err
    assert "bytecode" not in lading(*words, "--no-bytecode").err
