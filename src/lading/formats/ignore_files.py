"""``.dockerignore`` and ``.cortexignore``: files that are none of the project. The first has Docker's patterns, the second git's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from lading.model.files import ProjectFiles

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

DOCKER, CORTEX = ".dockerignore", ".cortexignore"
NAMES = (DOCKER, CORTEX)


class IgnoreRules:
    """The patterns of both files. Calling it tells whether a path, relative to the project, is ignored."""

    def __init__(self, docker: Iterable[str] = (), git: Iterable[str] = ()) -> None:
        self._docker = [_docker_rule(line) for line in _patterns(docker)]
        self._git = list(git)

    def __call__(self, path: str) -> bool:  # noqa: D102 -- the class says it
        return self.named_by(path) is not None

    def named_by(self, path: str) -> str | None:
        """The file that says to ignore a path; None where it is not ignored."""
        if self._by_docker(path):
            return DOCKER
        return CORTEX if self._git and self._by_git(path) else None

    def may_hold(self, folder: str) -> bool:
        """Whether something in an ignored folder may be wanted all the same: Docker's exceptions reach into them, git's do not."""
        return self.named_by(folder) == DOCKER and any(negated for negated, _ in self._docker)

    def _by_docker(self, path: str) -> bool:
        ignored = False
        for negated, matches in self._docker:
            if matches(path):
                ignored = not negated
        return ignored

    def _by_git(self, path: str) -> bool:
        parts = path.split("/")
        above = ("/".join(parts[:depth]) + "/" for depth in range(1, len(parts)))
        return any(self._spec.match_file(folder) for folder in above) or self._spec.match_file(path)

    @cached_property
    def _spec(self) -> GitIgnoreSpec:
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 -- 40 ms, for projects that have such a file

        return GitIgnoreSpec.from_lines(self._git)


def read_cortexignore(files: ProjectFiles, folder: str = "") -> IgnoreRules:
    """The rules of the ``.cortexignore`` in a folder; paths are relative to it. It alone says what a Cortex project consists of."""
    content = files.read(f"{folder}/{CORTEX}".lstrip("/")) or b""
    return IgnoreRules(git=content.decode("utf-8", "replace").splitlines())


def _patterns(lines: Iterable[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _docker_rule(pattern: str) -> tuple[bool, Callable[[str], bool]]:
    """Docker anchors every pattern at the root, and what is below a match is ignored too."""
    negated = pattern.startswith("!")
    body = os.path.normpath(pattern.removeprefix("!").strip()).lstrip("/")
    expression = re.compile(_translate(body) + r"(/.*)?")
    return negated, lambda path: expression.fullmatch(path) is not None


def _translate(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern)
    known = {"**/": r"(.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    return "".join(
        known.get(part) or (part.replace("[!", "[^") if part.startswith("[") and part.endswith("]") else re.escape(part)) for part in parts
    )
