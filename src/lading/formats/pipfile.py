"""``Pipfile``: Pipenv's project file (https://github.com/pypa/pipfile)."""

from __future__ import annotations

from collections.abc import Mapping

from lading.formats._pipfile import PipenvSources, read_entry
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import exact_request
from lading.formats._together import conflicting_pins
from lading.formats._toml import read_toml
from lading.formats._toml_reader import TomlReader
from lading.model.files import ProjectFiles
from lading.model.requirements import Declaration, Declared
from lading.model.secrets import redact_urls
from lading.model.target import PythonRequest

name = "Pipfile"


def recognises(path: str) -> bool:
    """Whether a file's name is Pipenv's."""
    return path.rsplit("/", 1)[-1] == name


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read ``[packages]``, the sources and ``[requires]``; ``[dev-packages]`` are for development.

    Raises:
        LadingError: with every problem of the file.
    """
    reader = TomlReader(read_toml(path, files), files)
    sources = _sources(reader, environ)
    requirements: list[Declared] = []
    for written, value in reader.table("packages").items():
        with reader.problems.catching():
            raw = f"{written} = {value!r}"
            requirements.append(read_entry(written, value, reader.place(raw, "packages", written), sources))
    python = _python(reader)
    reader.problems.add(*conflicting_pins(requirements))
    reader.problems.raise_if_any()
    options = sources.options()
    pre = reader.table("pipenv").get("allow_prereleases") is True
    return Declaration(
        format=name,
        path=path,
        read=(path,),
        requirements=tuple(requirements),
        options=options.merged(type(options)(pre=pre)),
        python=python,
    )


def python_of(path: str, files: ProjectFiles) -> PythonRequest | None:
    """The Python that ``[requires]`` asks for, whether or not the file is the source of the dependencies.

    Raises:
        LadingError: if it cannot be read.
    """
    reader = TomlReader(read_toml(path, files), files)
    found = _python(reader)
    reader.problems.raise_if_any()
    return found


def _sources(reader: TomlReader, environ: Mapping[str, str]) -> PipenvSources:
    sources = PipenvSources(search_all=reader.table("pipenv").get("install_search_all_sources") is True)
    for item, key in reader.items("source"):
        url = item.get("url") if isinstance(item, dict) else None
        if not isinstance(url, str):
            reader.problem("index-invalid", reader.toml.origin(*key), "A [[source]] has no url.", 'Write url = "https://...".')
            continue
        with reader.problems.catching():
            sources.add(str(item.get("name", "")), url, Place(redact_urls(url), reader.toml.origin(*key), reader.files), environ)
    return sources


def _python(reader: TomlReader) -> PythonRequest | None:
    table = reader.table("requires")
    for key in ("python_full_version", "python_version"):
        text = reader.text(table, "requires", key)
        if text is not None and text != "*":
            with reader.problems.catching():
                return exact_request(text, reader.toml.origin("requires", key), rule="python-version-invalid", what=f"requires.{key}")
    return None
