"""``apt.txt`` (repo2docker), ``packages.txt`` (Streamlit) and ``Aptfile`` (Heroku): Debian packages that the machine must have."""

from __future__ import annotations

from lading.formats._apt import apt_problem, is_apt_package
from lading.formats._text import read_text
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import Problem, ProblemCollector
from lading.model.requirements import Declaration

name = "apt.txt"

NAMES = ("apt.txt", "packages.txt", "Aptfile")


def recognises(path: str) -> bool:
    """Whether a file's name is that of a list of system packages."""
    return path.rsplit("/", 1)[-1] in NAMES


def parse(path: str, files: ProjectFiles) -> Declaration:
    """Read the list: names between spaces or lines, comments after ``#``.

    Raises:
        LadingError: with every word that is no Debian package's name.
    """
    problems = ProblemCollector()
    found: list[str] = []
    for number, line in enumerate(read_text(path, files).splitlines(), start=1):
        words = line.partition("#")[0].split()
        if path.endswith("Aptfile") and words and words[0].startswith(":"):
            problems.add(_repository(line.strip(), Origin(path, number)))
            continue
        for word in words:
            if is_apt_package(word):
                found.append(word)
            else:
                problems.add(apt_problem(word, Origin(path, number)))
    problems.raise_if_any()
    return Declaration(format=name, path=path, read=(path,), system_packages=tuple(dict.fromkeys(found)))


def _repository(line: str, origin: Origin) -> Problem:
    return Problem(
        rule="apt-repository-not-supported",
        what=f"{line.partition(':repo')[0]}:repo: adds a package repository, which Lading does not do."
        if ":repo" in line
        else f"{line} is not read.",
        origin=origin,
        instead="Add the repository to the machine or the base image yourself, and remove the line.",
    )
