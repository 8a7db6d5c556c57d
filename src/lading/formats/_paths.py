"""Local paths in requirement lines: what they mean, and whether something is there."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

from lading.formats._place import Place
from lading.formats._text import missing_file
from lading.model.files import ProjectFiles
from lading.model.patterns import pattern
from lading.model.problems import LadingError

_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma")
_CONDA_BUILD = pattern(r"/(croot|feedstock_root|conda-bld|perseverance-python-buildout|tmp/build|work)/")


def is_archive(path: str) -> bool:
    """Whether a path ends like a wheel or an sdist."""
    return path.lower().endswith(_ARCHIVES)


def normal(path: str) -> str:
    """A path relative to the root without ``./`` and inner ``..``; ``.`` is the root itself."""
    return posixpath.normpath(path)


def outside(path: str) -> bool:
    """Whether a normal path leaves the project."""
    return path.startswith(("/", "../")) or path == ".."


def joined(folder: str, path: str) -> str:
    """``path`` as seen from ``folder``, normal."""
    return normal(posixpath.join(folder, path))


def exists(path: str, files: ProjectFiles) -> bool:
    """Whether a file is there, without reading it: it may be a large wheel."""
    folder, _, name = path.rpartition("/")
    return name in files.entries(folder)


def installable(path: str, place: Place) -> str:
    """The normal path of a folder or archive that pip can install, relative to the project's root (pip: the current folder).

    What lies outside of the project is not looked at.

    Raises:
        LadingError: if nothing is there, or a folder that holds no package.
    """
    path = normal(path)
    if outside(path):
        return path
    if place.files.is_folder(path):
        return _package_folder(path, place)
    if exists(path, place.files):
        return _archive_file(path, place)
    raise LadingError(missing_file(path, place.files, place.origin, what="local package"))


def _package_folder(path: str, place: Place) -> str:
    inside = place.files.entries("" if path == "." else path)
    if "setup.py" in inside or "pyproject.toml" in inside:
        return path
    raise place.error(
        "folder-not-installable",
        f"The folder {'of the project' if path == '.' else path} cannot be installed: it holds neither setup.py nor pyproject.toml.",
        instead="Add a pyproject.toml to it, or remove the line: files of the project can be imported without being installed.",
    )


def _archive_file(path: str, place: Place) -> str:
    if is_archive(path):
        return path
    if path.endswith((".txt", ".in")):
        raise place.error("file-not-a-package", f"{path} is a requirements file, not a package.", instead=f"Write: -r {path}")
    raise place.error(
        "file-not-a-package", f"{path} is neither a wheel nor an sdist.", instead="Name a .whl, .tar.gz or .zip file, or a folder."
    )


def path_of_file_url(url: str, place: Place) -> str:
    """The path in ``file:./pkg`` (relative to the root, as uv reads it), ``file:///pkg`` or ``file://localhost/pkg``.

    Raises:
        LadingError: for a file on another host, and for the paths that ``pip freeze`` writes in a conda environment.
    """
    parts = urlsplit(place.url(url).reveal())
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost"):
        raise place.error(
            "file-url-host",
            f'{place.masked(url)} names a file on the host "{parts.netloc}".',
            why="Two slashes are followed by a host's name; a path on this machine needs one or three.",
            instead=f"Write file:./{parts.netloc.lstrip('./')}{path} for a path in the project, or file:///... for an absolute one.",
        )
    if path.startswith("/") and _CONDA_BUILD.search(path):
        raise place.error(
            "conda-build-path",
            f"This path was written by `pip freeze` in a conda environment, and exists only where conda built the package: {place.shown}",
            instead="Write the package's version instead: NAME==VERSION. `pip list --format=freeze` prints all of them.",
        )
    return path or "."
