"""Where this machine, or this project, reaches PyTorch's indexes: ``LADING_TORCH_INDEX``, or ``torch-index`` under ``[tool.lading]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass
from lading.model.secrets import SecretUrl

VARIABLE, SETTING, OFF = "LADING_TORCH_INDEX", "torch-index", "off"
PYPROJECT = "pyproject.toml"
_NAME = re.compile(r"\$\{([A-Z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class TorchIndex:
    """``mirror``: the folder under which each build label is an index (a mirror of ``…/whl``). ``off``: torch comes from the ordinary indexes."""

    mirror: SecretUrl | None = None
    off: bool = False


def torch_index(files: ProjectFiles, environ: Mapping[str, str]) -> TorchIndex:
    """The variable's setting, else the project's; neither: PyTorch's own addresses.

    Raises:
        LadingError: if the project's setting is no address, or names a variable that is not set.
    """
    named = environ.get(VARIABLE, "").strip()
    if named:
        return _read(named, (), Origin(VARIABLE))
    text = _of_project(files)
    if not text:
        return TorchIndex()
    origin = Origin(PYPROJECT)
    names = tuple(dict.fromkeys(_NAME.findall(text)))
    for name in names:
        if not environ.get(name):
            raise LadingError(_problem(f"The variable {name} is not set, and torch-index needs its value.", f"export {name}=...", origin))
    variables = tuple((name, environ[name]) for name in names)
    return _read(_NAME.sub(lambda found: environ[found[1]], text), variables, origin)


def _of_project(files: ProjectFiles) -> str:
    content = files.read(PYPROJECT)
    if content is None or SETTING.encode() not in content:
        return ""
    import tomllib  # noqa: PLC0415 -- few projects have the setting

    try:
        document: dict[str, Any] = tomllib.loads(content.decode("utf-8-sig", "replace"))
    except tomllib.TOMLDecodeError:
        return ""  # the reader of pyproject.toml has said it, with the line
    value = document.get("tool", {}).get("lading", {}).get(SETTING, "")
    if not isinstance(value, str):
        raise LadingError(_problem("tool.lading.torch-index must be a text.", 'torch-index = "https://..."', Origin(PYPROJECT)))
    return value.strip()


def _read(text: str, variables: tuple[tuple[str, str], ...], origin: Origin) -> TorchIndex:
    if text.lower() == OFF:
        return TorchIndex(off=True)
    url = SecretUrl(text.rstrip("/"), variables)
    if not re.match(r"https?://[^/]+", text):
        raise LadingError(_problem(f'torch-index is "{url}", which is no address.', "https://HOST/whl, or off", origin))
    return TorchIndex(mirror=url)


def _problem(what: str, instead: str, origin: Origin) -> Problem:
    return Problem(
        rule="torch-index-invalid",
        what=what,
        origin=origin,
        why="It is the folder under which each build label is an index, as https://download.pytorch.org/whl is.",
        instead=f"Write {instead}.",
    )
