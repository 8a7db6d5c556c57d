"""System packages: every list of them in the project's folder."""

from __future__ import annotations

from lading.formats import system_packages as reader
from lading.model.files import ProjectFiles, content_hash
from lading.model.plan import Role, Source
from lading.model.problems import ProblemCollector
from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class SystemPackages:
    """The packages of all lists, and the lists."""

    packages: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()


def system_packages(files: ProjectFiles, folder: str = "") -> SystemPackages:
    """Read ``apt.txt``, ``packages.txt`` and ``Aptfile`` beside the dependency source, or at the root; they add up.

    Raises:
        LadingError: with every wrong name in them.
    """
    problems = ProblemCollector()
    packages: list[str] = []
    sources: list[Source] = []
    for path in dict.fromkeys(f"{place}/{name}".lstrip("/") for place in (folder, "") for name in reader.NAMES):
        content = files.read(path)
        if content is None:
            continue
        with problems.catching():
            packages += reader.parse(path, files).system_packages
            because = "system packages of all lists add up"
            sources.append(
                Source(path=path, role=Role.USED, format="a list of system packages", because=because, sha256=content_hash(content))
            )
    problems.raise_if_any()
    return SystemPackages(tuple(dict.fromkeys(packages)), tuple(sources))
