"""What kind of project a folder holds, and which predictor it serves."""

from __future__ import annotations

from collections.abc import Mapping

from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.project import Api, ProjectConfig, ProjectKind, Style

COG = "cog.yaml"
CORTEX = "cortex.yaml"
PYPROJECT = "pyproject.toml"


def find_config(files: ProjectFiles, named: str | None, environ: Mapping[str, str]) -> ProjectConfig:
    """Read the project's configuration, or work out what a plain project serves.

    Args:
        files: The project.
        named: What the user named: a configuration file, or a predictor as ``file.py`` or ``file.py:Name``.
        environ: Variables that the files may refer to.

    Raises:
        LadingError: if two configurations compete, if there is nothing to serve, or if the configuration is wrong.
    """
    if named is not None:
        return _named_config(files, named, environ)
    present = [name for name in (COG, CORTEX) if files.read(name) is not None]
    if len(present) > 1:
        raise LadingError(
            Problem(
                rule="two-configurations",
                what="Both cog.yaml and cortex.yaml are here, and each describes the whole project.",
                origin=Origin(COG),
                why="Lading does not choose between two answers in silence.",
                instead="Name the one to use: `-f cog.yaml` or `-f cortex.yaml`.",
            )
        )
    if present:
        return _read_config(files, present[0], environ)
    return _plain_config(files, None)


def _named_config(files: ProjectFiles, named: str, environ: Mapping[str, str]) -> ProjectConfig:
    path, _, name = named.partition(":")
    path = path.removeprefix("./")
    if path.endswith(".py"):
        return _plain_config(files, f"{path}:{name}" if name else path)
    if files.read(path) is None:
        raise LadingError(
            Problem(
                rule="file-not-found",
                what=f"There is no file {path} in the project.",
                origin=Origin("-f"),
                instead="Name a cog.yaml, a cortex.yaml, or a predictor as file.py:Name, relative to the project's folder.",
            )
        )
    return _read_config(files, path, environ)


def _read_config(files: ProjectFiles, path: str, environ: Mapping[str, str]) -> ProjectConfig:
    from lading.formats import cog_yaml, cortex_yaml  # noqa: PLC0415 -- PyYAML takes 15 ms, and plain projects do not need it

    name = path.rsplit("/", 1)[-1]
    if name == COG or (name != CORTEX and not _is_list(files.read(path) or b"")):
        return cog_yaml.parse_config(path, files, environ)
    return cortex_yaml.parse_config(path, files)


def _is_list(content: bytes) -> bool:
    """Whether a YAML text's first content line starts a list, as Cortex's configurations do."""
    for line in content.decode("utf-8", "replace").splitlines():
        text = line.lstrip("\ufeff").strip()
        if text and not text.startswith(("#", "---", "%")):
            return text.startswith(("-", "["))
    return False


def _plain_config(files: ProjectFiles, named: str | None) -> ProjectConfig:
    reference, origin = (named, Origin("the command line")) if named else _declared_predictor(files)
    file, _, name = (reference or "").partition(":")
    _must_be_there(files, file, origin)
    if file and name:
        api = _plain_api(file, name, origin)
        return ProjectConfig(kind=ProjectKind.PLAIN, path=None, apis=(api,))
    return _discovered(files, file or None)


def _must_be_there(files: ProjectFiles, file: str, origin: Origin) -> None:
    if file and files.read(file) is None:
        raise LadingError(
            Problem(
                rule="predictor-file-not-found",
                what=f"The predictor file {file} is not in the project.",
                origin=origin,
                instead="Write the path relative to the project's folder, as file.py:Name.",
            )
        )


def _declared_predictor(files: ProjectFiles) -> tuple[str | None, Origin]:
    """``predict`` under ``[tool.lading]`` of pyproject.toml."""
    content = files.read(PYPROJECT)
    if content is None or b"tool.lading" not in content:
        return None, Origin(PYPROJECT)
    from lading.formats import pyproject_toml  # noqa: PLC0415 -- only when the table is there

    settings = pyproject_toml.lading_settings(PYPROJECT, files)
    return settings.predict, settings.origin


def plain_api(files: ProjectFiles, reference: str, origin: Origin) -> Api:
    """The predictor or training that ``file.py:Name`` names, in Cog's style.

    Raises:
        LadingError: if the file is not in the project, or the name is missing.
    """
    file, _, name = reference.partition(":")
    _must_be_there(files, file, origin)
    if not (file and name):
        what = f'"{reference}" does not say which class or function it means.'
        raise LadingError(Problem(rule="usage", what=what, origin=origin, instead="Write file.py:Name."))
    return _plain_api(file, name, origin)


def _plain_api(file: str, name: str, origin: Origin) -> Api:
    return Api(name=_api_name(file), style=Style.COG, file=file, object=name, origin=origin)


def _api_name(file: str) -> str:
    return file.rsplit("/", 1)[-1].removesuffix(".py").replace("_", "-")


def _discovered(files: ProjectFiles, only: str | None) -> ProjectConfig:
    from lading.schema.discover import find_predictor  # noqa: PLC0415 -- `ast` is needed for this alone

    found = find_predictor(files) if only is None else find_predictor(files, only=only)
    if not found:
        raise LadingError(_nothing_to_serve(files, only))
    if len(found) > 1:
        listed = ", ".join(f"{one.file}:{one.object} (line {one.line})" for one in found)
        raise LadingError(
            Problem(
                rule="several-predictors",
                what=f"There are {len(found)} predictors here: {listed}.",
                origin=Origin(found[0].file, found[0].line),
                why="Lading does not choose between two answers in silence.",
                instead=f'Name one: `-f {found[0].file}:{found[0].object}`, or `predict = "{found[0].file}:{found[0].object}"` '
                "under [tool.lading] in pyproject.toml.",
            )
        )
    one = found[0]
    origin = Origin(one.file, one.line)
    decision = Decision(
        rule="predictor-found",
        kind=Kind.CHOSEN,
        subject="predictor",
        asked="no predictor named" if only is None else only,
        chose=f"{one.file}:{one.object}",
        because="it is the only predictor in the project's folder" if only is None else "it is the only predictor in that file",
        origin=origin,
        instead='-f FILE.py:NAME, or predict = "FILE.py:NAME" under [tool.lading] in pyproject.toml',
    )
    api = _plain_api(one.file, one.object, origin)
    return ProjectConfig(kind=ProjectKind.PLAIN, path=None, apis=(api,), decisions=(decision,))


def _nothing_to_serve(files: ProjectFiles, only: str | None) -> Problem:
    looked = f"in {only}" if only else "in this folder: no cog.yaml, no cortex.yaml, and no predictor in its Python files"
    nearby = [name for name in files.entries() if name.endswith(".py")]
    return Problem(
        rule="no-predictor",
        what=f"There is nothing to serve {looked}.",
        origin=Origin(only) if only else (Origin(nearby[0]) if nearby else None),
        why="A predictor is a class with setup and predict (Cog), or a function named predict with type hints.",
        instead="Name it with `-f file.py:Name`, or start with `lading init`.",
    )
