"""The stamp: fresh exactly as long as nothing that was read, looked for or relied on has changed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.environments import stamp
from lading.environments.folder import FolderFiles
from lading.environments.stamp import Inputs, find_fresh, forget_removed, is_fresh, save, stamp_path
from lading.model.files import content_hash

ENVIRON = {"PIP_INDEX_URL": "https://bob:pl4nted@host/simple"}


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    place = tmp_path / "env"
    (place / "bin").mkdir(parents=True)
    for name in ("lading.json", "bin/python"):
        (place / name).write_text("")
    return place


@pytest.fixture
def project(root: Path) -> Path:
    for name in ("requirements.txt", "predict.py"):
        (root / name).write_text("one\n")
    (root / "pkg").mkdir()
    (root / "pkg" / "mod.py").write_text("x = 1\n")
    (root / "python").write_text("a program\n")
    settle(root)
    return root


def settle(root: Path) -> None:
    """Let the files look as if they were written a while ago: what changed just now is compared by content each time."""
    past = time.time() - 100
    for path in [*root.rglob("*"), root]:
        os.utime(path, (past, past))
    time.sleep(0.03)


def stamped(project: Path, environment: Path, **options: object) -> None:
    files = FolderFiles(project)
    files.read("requirements.txt")
    files.read("missing.txt")
    files.entries()
    files.is_folder("pkg")
    files.inputs.add_program(str(project / "python"))
    files.inputs.add_tree(str(project / "pkg"))
    save(str(project), ("a", "b"), files.inputs, {"": str(environment)}, environ=ENVIRON, note="a\tnote\\\n", **options)  # type: ignore[arg-type]


def fresh(project: Path, options: tuple[str, ...] = ("a", "b"), environ: dict[str, str] = ENVIRON) -> bool:
    return is_fresh(str(project), options, environ=environ) is not None


def test_unchanged_it_tells_what_was_left(project: Path, environment: Path):
    stamped(project, environment)
    found = find_fresh(str(project), ("a", "b"), environ=ENVIRON)
    assert found is not None
    assert (found.environment, found.environments, found.note) == (str(environment), {"": str(environment)}, "a\tnote\\\n")


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "content": lambda project, _: (project / "requirements.txt").write_text("two\n"),
    "content of the same size and time": lambda project, _: rewritten(project / "requirements.txt", "eno\n"),
    "deleted": lambda project, _: (project / "requirements.txt").unlink(),
    "now a folder": lambda project, _: replaced_by_a_folder(project / "requirements.txt"),
    "found": lambda project, _: (project / "missing.txt").write_text(""),
    "another file in the folder": lambda project, _: (project / "cog.yaml").write_text(""),
    "a file less in the folder": lambda project, _: (project / "predict.py").unlink(),
    "a folder that became a file": lambda project, _: ((project / "pkg").rename(project.parent / "pkg"), (project / "pkg").write_text("")),
    "a source of a package": lambda project, _: (project / "pkg" / "mod.py").write_text("x = 2\n"),
    "a new source of a package": lambda project, _: (project / "pkg" / "new.py").write_text(""),
    "the interpreter": lambda project, _: (project / "python").write_text("another program\n"),
    "no interpreter": lambda project, _: (project / "python").unlink(),
    "the environment's record": lambda _, environment: (environment / "lading.json").unlink(),
    "the environment's python": lambda _, environment: (environment / "bin" / "python").unlink(),
}


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewritten(path: Path, text: str) -> None:
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(project: Path, environment: Path, change: str):
    stamped(project, environment)
    assert fresh(project)
    CHANGES[change](project, environment)
    assert not fresh(project)


def test_a_file_that_was_not_looked_at_does_not_count(project: Path, environment: Path):
    stamped(project, environment)
    (project / "predict.py").write_text("two\n")
    (project / "pkg" / "notes.txt").write_text("no source\n")
    assert fresh(project)


def test_a_fresh_checkout_of_the_same_content_holds_and_is_remembered(project: Path, environment: Path):
    stamped(project, environment)
    path = Path(stamp_path(str(project), ("a", "b")))
    before = path.read_bytes()
    (project / "requirements.txt").unlink()
    (project / "requirements.txt").write_text("one\n")
    assert fresh(project)
    assert path.read_bytes() != before
    assert fresh(project)


def test_a_file_written_at_the_moment_it_was_read_is_compared_by_content(root: Path, environment: Path):
    (root / "requirements.txt").write_text("one\n")
    files = FolderFiles(root)
    files.read("requirements.txt")
    save(str(root), (), files.inputs, {"": str(environment)}, environ={})
    rewritten(root / "requirements.txt", "two\n")
    assert is_fresh(str(root), (), environ={}) is None


def test_other_options_or_another_folder_are_another_stamp(project: Path, environment: Path, tmp_path: Path):
    stamped(project, environment)
    assert not fresh(project, ("a",))
    assert not fresh(project, ("b", "a"))
    assert not fresh(tmp_path)


@pytest.mark.parametrize("environ", [{}, {"PIP_INDEX_URL": "https://other/"}, {**ENVIRON, "UV_INDEX": "https://more/"}])
def test_variables_that_say_where_packages_come_from_count(project: Path, environment: Path, environ: dict[str, str]):
    stamped(project, environment)
    assert not fresh(project, environ=environ)
    assert fresh(project, environ={**ENVIRON, "EDITOR": "vi"})


def test_variables_that_files_refer_to_count(project: Path, environment: Path):
    stamped(project, environment, variables=("TOKEN",))
    assert not fresh(project, environ={**ENVIRON, "TOKEN": "x"})


def test_it_holds_no_secret(project: Path, environment: Path):
    stamped(project, environment)
    content = Path(stamp_path(str(project), ("a", "b"))).read_text()
    assert "pl4nted" not in content
    assert Path(stamp_path(str(project), ("a", "b"))).stat().st_mode & 0o077 == 0


def test_several_environments_must_all_be_there(project: Path, environment: Path, tmp_path: Path):
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    for name in ("lading.json", "bin/python"):
        (other / name).write_text("")
    save(str(project), (), Inputs(), {"gpu": str(other), "": str(environment)}, environ={})
    found = find_fresh(str(project), (), environ={})
    assert found is not None
    assert list(found.environments.items()) == [("", str(environment)), ("gpu", str(other))]
    (other / "lading.json").unlink()
    assert find_fresh(str(project), (), environ={}) is None


def test_without_an_environment_nothing_is_fresh(project: Path):
    save(str(project), (), Inputs(), {}, environ={})
    assert is_fresh(str(project), (), environ={}) is None


# Odd stamps


def test_a_stamp_cut_anywhere_is_not_fresh(project: Path, environment: Path):
    stamped(project, environment)
    path = Path(stamp_path(str(project), ("a", "b")))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert not fresh(project), length
    path.write_bytes(whole)
    assert fresh(project)


@given(junk=st.binary(max_size=200), at=st.integers(0, 2000))
def test_a_stamp_with_anything_in_it_is_fresh_or_not_and_no_more(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int):
    folder = tmp_path_factory.mktemp("stamps")
    inputs = Inputs()
    inputs.add_missing("/nowhere")
    save("/project", (), inputs, {"": "/env"}, environ={}, store=str(folder))
    path = Path(stamp_path("/project", (), str(folder)))
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + junk + whole[at:])
    assert find_fresh("/project", (), environ={}, store=str(folder)) is None  # there is no /env


def test_a_stamp_of_another_version_is_not_fresh(project: Path, environment: Path, monkeypatch: pytest.MonkeyPatch):
    stamped(project, environment)
    monkeypatch.setattr(stamp, "__version__", "0.0.0")
    assert not fresh(project)


def test_a_store_that_cannot_be_written_is_no_error(project: Path, environment: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    save(str(project), (), Inputs(), {"": str(environment)}, environ={}, store=str(tmp_path / "file"))
    assert find_fresh(str(project), (), environ={}, store=str(tmp_path / "file")) is None


@given(st.text(alphabet=st.sampled_from("a\\\t\n\r\0é ")))
def test_any_text_survives(text: str):
    assert stamp._unescape(stamp._escape(text)) == text
    assert not set(stamp._escape(text)) & set("\t\n\r\0")


def test_names_that_are_no_text_survive(tmp_path: Path, environment: Path):
    odd = os.fsdecode(b"odd-\xff\n.txt")
    (tmp_path / odd).write_text("one")
    inputs = Inputs()
    inputs.add_file(str(tmp_path / odd), None, content_hash(b"one"), 0)
    save(str(tmp_path), (), inputs, {"": str(environment)}, environ={})
    assert is_fresh(str(tmp_path), (), environ={}) == str(environment)
    (tmp_path / odd).write_text("two")
    assert is_fresh(str(tmp_path), (), environ={}) is None


def test_stamps_of_removed_environments_are_forgotten(project: Path, environment: Path, tmp_path: Path, lading_home: Path):
    stamped(project, environment)
    save(str(tmp_path), (), Inputs(), {"": "/nowhere"}, environ={})
    (lading_home / "stamps" / "junk").write_text("junk")
    forget_removed(str(lading_home))
    assert [path.name for path in (lading_home / "stamps").iterdir()] == [Path(stamp_path(str(project), ("a", "b"))).name]


def test_the_check_loads_nothing_heavy(project: Path, environment: Path):
    files = FolderFiles(project)
    files.read("requirements.txt")
    files.entries()
    save(str(project), (), files.inputs, {"": str(environment)}, environ={})
    code = (
        "import sys; before = set(sys.modules); from lading.environments.stamp import is_fresh\n"
        f"print([is_fresh({str(project)!r}, (), environ={{}}), sorted(set(sys.modules) - before)])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    found, loaded = ast.literal_eval(done.stdout)
    assert found == str(environment)
    assert not {"re", "json", "pathlib", "typing", "dataclasses", "subprocess", "hashlib"} & set(loaded)
