"""The project's own files in an image: all but what version control, editors and caches keep, what ignore files name, and secrets."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path

from lading.formats.ignore_files import NAMES, IgnoreRules
from lading.images.folders import Found, walk
from lading.model.decisions import Decision, Kind
from lading.model.origin import Origin
from lading.model.records import dataclass, field

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
_SHOWN = 3
_DOTFILES = "dotfiles"


@dataclass(slots=True)
class ProjectFilesFound:
    """What goes into the image, and the decisions about what does not; ``ignored`` are the paths that ignore files leave out."""

    files: list[Found]
    decisions: list[Decision] = field(default_factory=list)
    ignored: tuple[str, ...] = ()


def find_files(root: Path, without: Iterable[str] = (), *, cortex: bool = False) -> ProjectFilesFound:
    """The project's files for an image. ``without`` are further paths that must stay out: they hold secrets.

    ``cortex``: it is a project of Cortex, to which no file belongs whose name begins with a dot (cli/cmd/deploy.go of 0.32.0).

    Raises:
        OSError: if the folder cannot be read.
    """
    ignored = ignore_rules(root)
    secret: list[str] = []
    left_out: dict[str, list[str]] = {}
    barred = frozenset(without)

    def keep(path: str, is_folder: bool) -> bool:  # noqa: FBT001 -- as `walk` asks
        name = path.rpartition("/")[2]
        if is_tools_own(name, is_folder=is_folder):
            return False
        said = ignored.named_by(f"{path}/" if is_folder else path)
        if cortex and name.startswith(".") and not is_secret_name(name):
            said = said or _DOTFILES
        if said is not None and not (is_folder and ignored.may_hold(path)):
            left_out.setdefault(said, []).append(f"{path}/" if is_folder else path)
            return False
        if is_folder:
            return not (root / path / "pyvenv.cfg").exists()
        if path in barred or is_secret_name(name):
            secret.append(path)
            return False
        return True

    files = walk(root, ROOT, keep)
    ignoring = [_ignored(name, paths) for name, paths in sorted(left_out.items())]
    named = tuple(sorted(path.rstrip("/") for paths in left_out.values() for path in paths))
    return ProjectFilesFound(files, [*ignoring, *(_left_out(path) for path in sorted(secret))], named)


def left_out_names() -> tuple[str, ...]:
    """The patterns of names that no project's files in an image have: folders of tools, caches, and files that hold credentials."""
    return tuple(sorted({*_FOLDERS, *_FILES, *_SECRET_FILES}))


def is_tools_own(name: str, *, is_folder: bool) -> bool:
    """Whether folders or files of this name belong to version control, editors or caches, or are where programs keep their logins."""
    return name in _FOLDERS if is_folder else any(fnmatch.fnmatchcase(name, pattern) for pattern in _FILES)


def is_secret_name(name: str) -> bool:
    """Whether files of this name hold credentials by convention."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _HARMLESS):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _SECRET_FILES)


def _ignored(name: str, paths: list[str]) -> Decision:
    shown = ", ".join(sorted(paths)[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
    named = f"{name} names {'it' if len(paths) == 1 else 'them'}"
    return Decision(
        rule="files-ignored",
        kind=Kind.CHOSEN,
        subject=name,
        asked=shown,
        chose="not in the image",
        because="no file whose name begins with a dot belongs to a project of Cortex" if name == _DOTFILES else named,
        origin=None if name == _DOTFILES else Origin(name),
        instead="another name" if name == _DOTFILES else f"an exception in {name}: !PATH",
    )


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


def ignore_rules(root: Path) -> IgnoreRules:
    """The rules of ``.dockerignore`` and ``.cortexignore`` in a folder."""
    docker, git = (_lines(root / name) for name in NAMES)
    return IgnoreRules(docker, git)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
