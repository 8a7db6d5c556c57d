"""A project's folder: read once, every look recorded, and everything odd about a file told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lading.environments import folder
from lading.environments.folder import FolderFiles
from lading.environments.stamp import find_fresh, save
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem


def refused(files: FolderFiles, path: str) -> Problem:
    with pytest.raises(LadingError) as caught:
        files.read(path)
    (problem,) = caught.value.problems
    return problem


def test_files_are_read_once(root: Path):
    (root / "a.txt").write_bytes(b"one")
    files = FolderFiles(root)
    assert files.read("a.txt") == b"one"
    (root / "a.txt").write_bytes(b"two")
    assert files.read("a.txt") == files.read("./a.txt") == files.read(str(root / "a.txt")) == b"one"
    assert FolderFiles(root).read("a.txt") == b"two"


def test_what_is_not_there_or_no_file_is_none(root: Path):
    (root / "sub").mkdir()
    (root / "a.txt").write_text("")
    files = FolderFiles(root)
    assert [files.read(path) for path in ("nothing", "sub", "a.txt/below", "x" * 300)] == [None] * 4


def test_paths_may_climb_out(root: Path):
    (root.parent / "shared.txt").write_bytes(b"shared")
    assert FolderFiles(root).read("../shared.txt") == b"shared"


def test_links_are_followed(root: Path):
    (root / "real.txt").write_bytes(b"real")
    (root / "link.txt").symlink_to("real.txt")
    (root / "dangling").symlink_to("nowhere")
    files = FolderFiles(root)
    assert (files.read("link.txt"), files.read("dangling")) == (b"real", None)


def test_a_link_to_itself(root: Path):
    (root / "loop").symlink_to("loop")
    problem = refused(FolderFiles(root), "loop")
    assert (problem.rule, problem.origin) == ("file-unreadable", Origin("loop"))
    assert "leads back to itself" in problem.what


def test_a_pipe_is_refused_and_not_waited_for(root: Path):
    os.mkfifo(root / "pipe")
    problem = refused(FolderFiles(root), "pipe")
    assert problem.what == "pipe is not a file but a device, a pipe or a socket."


def test_a_socket_is_refused(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert refused(FolderFiles(tmp_path), "s").rule == "file-unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(root: Path):
    (root / "secret.txt").write_text("")
    (root / "secret.txt").chmod(0)
    problem = refused(FolderFiles(root), "secret.txt")
    assert (problem.rule, problem.what) == ("file-unreadable", "secret.txt cannot be read: Permission denied.")


def test_a_file_that_is_too_large_is_not_read(root: Path):
    with (root / "data.txt").open("wb") as stream:
        stream.truncate(folder.MAX_BYTES + 1)
    problem = refused(FolderFiles(root), "data.txt")
    assert (problem.rule, problem.origin) == ("file-too-large", Origin("data.txt"))
    assert "10,000,001 bytes" in problem.what


def test_entries_are_sorted_and_folders_end_with_a_slash(root: Path):
    (root / "sub").mkdir()
    (root / "__pycache__").mkdir()
    for name in ("b", "a"):
        (root / name).write_text("")
    files = FolderFiles(root)
    assert files.entries() == ("a", "b", "sub/")
    assert (files.entries("sub"), files.entries("nothing"), files.entries("a")) == ((), (), ())
    (root / "c").write_text("")
    assert files.entries() == ("a", "b", "sub/")
    assert [files.is_folder(path) for path in ("sub", "a", "nothing", "", ".")] == [True, False, False, True, True]


def test_what_lading_writes_is_no_change(root: Path, tmp_path: Path):
    """The stamp that is saved after a lock was written holds, whatever was read before it."""
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    for name in ("lading.json", "bin/python"):
        (environment / name).write_text("")
    files = FolderFiles(root)
    assert files.read("pylock.lading.toml") is None
    assert files.entries() == ()
    (root / "pylock.lading.toml").write_bytes(b"lock")
    files.wrote("pylock.lading.toml", b"lock")
    assert files.read("pylock.lading.toml") == b"lock"
    assert files.entries() == ("pylock.lading.toml",)
    save(str(root), (), files.inputs, {"": str(environment)}, environ={})
    assert find_fresh(str(root), (), environ={}) is not None
    (root / "pylock.lading.toml").write_bytes(b"kcol")
    assert find_fresh(str(root), (), environ={}) is None
