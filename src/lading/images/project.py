"""The project's own files in an image: all but what version control, editors and caches keep, what ignore files name, and secrets."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import field
from pathlib import Path

from lading.images.folders import Found, walk
from lading.model.decisions import Decision, Kind
from lading.model.origin import Origin
from lading.model.records import dataclass

ROOT = "src"
"""Where the project lies in an image, as in Cog's."""

_FOLDERS = frozenset(
    (".git", ".hg", ".svn", ".bzr", "__pycache__", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis",
     ".ipynb_checkpoints", ".cog", ".lading", "node_modules", ".idea", ".vscode", ".terraform", ".aws", ".ssh", ".docker", ".kube", ".gnupg")
)  # fmt: skip
_FILES = ("*.pyc", "*.pyo", ".DS_Store", "*.swp", "*~", ".coverage", ".git", ".dockerignore", ".cortexignore")
_SECRET_FILES = (
    ".env", ".env.*", "*.env", "pip.conf", "pip.ini", ".netrc", "_netrc", ".pypirc", ".npmrc", ".git-credentials", ".condarc", ".htpasswd",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.p12", "*.pfx", ".boto", "credentials.json",
)  # fmt: skip
_HARMLESS = ("*.env.example", ".env.example", ".env.template", ".env.sample", "cacert.pem", "ca-bundle.pem")
IGNORE_FILES = (".dockerignore", ".cortexignore")


@dataclass(slots=True)
class ProjectFilesFound:
    """What goes into the image, and the decisions about what does not."""

    files: list[Found]
    decisions: list[Decision] = field(default_factory=list)


def find_files(root: Path, without: Iterable[str] = ()) -> ProjectFilesFound:
    """The project's files for an image. ``without`` are further paths that must stay out: they hold secrets.

    Raises:
        OSError: if the folder cannot be read.
    """
    ignored = ignore_rules(root)
    secret: list[str] = []
    barred = frozenset(without)

    def keep(path: str, is_folder: bool) -> bool:  # noqa: FBT001 -- as `walk` asks
        name = path.rpartition("/")[2]
        if is_folder:
            return name not in _FOLDERS and not (root / path / "pyvenv.cfg").exists() and not (ignored(path) and not ignored.may_hold(path))
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _FILES) or ignored(path):
            return False
        if path in barred or is_secret_name(name):
            secret.append(path)
            return False
        return True

    files = walk(root, ROOT, keep)
    return ProjectFilesFound(files, [_left_out(path) for path in sorted(secret)])


def is_secret_name(name: str) -> bool:
    """Whether files of this name hold credentials by convention."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _HARMLESS):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _SECRET_FILES)


def _left_out(path: str) -> Decision:
    return Decision(
        rule="secret-file-left-out",
        kind=Kind.CHOSEN,
        subject=path,
        asked=path,
        chose="not in the image",
        because="files of this name or content hold credentials, and everybody who gets an image can read its layers",
        origin=Origin(path),
        instead="another name, if the container needs the file; or mount it when the container starts",
    )


class Rules:
    """The patterns of ignore files. Calling it tells whether a path (relative to the project) is ignored."""

    def __init__(self, docker: Iterable[str] = (), git: Iterable[str] = ()) -> None:
        self._rules = [*map(_docker_rule, _patterns(docker)), *map(_git_rule, _patterns(git))]
        self._exceptions = any(negated for negated, _ in self._rules)

    def __call__(self, path: str) -> bool:  # noqa: D102 -- the class says it
        ignored = False
        for negated, matches in self._rules:
            if matches(path):
                ignored = not negated
        return ignored

    def may_hold(self, _folder: str) -> bool:
        """Whether something in an ignored folder may be wanted all the same."""
        return self._exceptions


def ignore_rules(root: Path) -> Rules:
    """The rules of ``.dockerignore`` (Docker's patterns) and ``.cortexignore`` (git's)."""
    docker, git = (_lines(root / name) for name in IGNORE_FILES)
    return Rules(docker, git)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _patterns(lines: Iterable[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _docker_rule(pattern: str) -> tuple[bool, Callable[[str], bool]]:
    """Docker anchors every pattern at the root, and what is below a match is ignored too."""
    negated = pattern.startswith("!")
    body = os.path.normpath(pattern.removeprefix("!").strip()).lstrip("/")
    expression = re.compile(_translate(body) + r"(/.*)?")
    return negated, lambda path: expression.fullmatch(path) is not None


def _git_rule(pattern: str) -> tuple[bool, Callable[[str], bool]]:
    """Git anchors patterns with a slash inside; others match at any depth."""
    negated = pattern.startswith("!")
    body = pattern.removeprefix("!").rstrip("/")
    anchored = "/" in body
    expression = re.compile(("" if anchored else r"(.*/)?") + _translate(body.lstrip("/")) + r"(/.*)?")
    return negated, lambda path: expression.fullmatch(path) is not None


def _translate(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern)
    known = {"**/": r"(.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    return "".join(
        known.get(part) or (part.replace("[!", "[^") if part.startswith("[") and part.endswith("]") else re.escape(part)) for part in parts
    )
