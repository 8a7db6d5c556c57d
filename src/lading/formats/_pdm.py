"""``[tool.pdm]``: sources and resolution in PDM's own table (https://pdm-project.org/en/latest/reference/pep621/)."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from lading.formats._place import Place, expand
from lading.formats._requirement import read_pep508
from lading.formats._toml_reader import TomlReader
from lading.model.names import canonical
from lading.model.records import dataclass
from lading.model.requirements import BoundIndex, Declared, IndexOptions
from lading.model.secrets import SecretUrl

_SOURCE = ("tool", "pdm", "source")
_RESOLUTION = ("tool", "pdm", "resolution")
_DEFAULT = "pypi"


@dataclass(frozen=True, slots=True)
class PdmTable:
    """What ``[tool.pdm]`` says."""

    options: IndexOptions
    bound: tuple[BoundIndex, ...] = ()
    overrides: tuple[Declared, ...] = ()
    excludes: tuple[str, ...] = ()


def read_pdm(reader: TomlReader, requirements: list[Declared], environ: Mapping[str, str]) -> PdmTable:
    """Read ``[tool.pdm]``. A source named ``pypi`` takes the default registry's place; ``include_packages`` bind packages to theirs."""
    index: SecretUrl | None = None
    extra: list[SecretUrl] = []
    links: list[SecretUrl] = []
    bound: list[BoundIndex] = []
    for item, key in reader.items(*_SOURCE):
        url = item.get("url") if isinstance(item, dict) else None
        if not isinstance(url, str):
            reader.problem("index-invalid", reader.toml.origin(*key), "A source of PDM has no url.", 'Write url = "https://...".')
            continue
        with reader.problems.catching():
            text, place = expand(url, reader.place(url, *key), environ)
            found = place.url(text)
            kind = "find-links" if item.get("type") == "find_links" else "index"
            included = [str(name) for name in item.get("include_packages") or ()]
            if item.get("name") == _DEFAULT and kind == "index":
                index = found
            elif not included or "*" in included:
                (links if kind == "find-links" else extra).append(found)
            if included and "*" not in included:
                bound.append(BoundIndex(str(item.get("name", "pdm")), found, _named(included, requirements), kind))
    resolution = reader.table(*_RESOLUTION)
    options = IndexOptions(
        index_url=index,
        extra_index_urls=tuple(dict.fromkeys(extra)),
        find_links=tuple(dict.fromkeys(links)),
        pre=bool(resolution.get("allow-prereleases")),
    )
    excludes = tuple(canonical(name) for name, _ in reader.texts(*_RESOLUTION, "excludes"))
    return PdmTable(options, tuple(one for one in bound if one.packages), tuple(_overrides(reader)), excludes)


def _named(patterns: list[str], requirements: list[Declared]) -> tuple[str, ...]:
    """The packages that patterns name: those without ``*`` themselves, the others as far as requirements match them."""
    exact = [canonical(pattern) for pattern in patterns if "*" not in pattern]
    names = [declared.name for declared in requirements if declared.name]
    matched = [name for name in names for pattern in patterns if "*" in pattern and fnmatchcase(name, pattern.lower())]
    return tuple(dict.fromkeys((*exact, *matched)))


def _overrides(reader: TomlReader) -> list[Declared]:
    """``[tool.pdm.resolution.overrides]``: a version without an operator is an exact one."""
    found: list[Declared] = []
    for name, value in reader.table(*_RESOLUTION, "overrides").items():
        key = (*_RESOLUTION, "overrides", name)
        if not isinstance(value, str):
            reader.wrong_type(key, "a version", f'{name} = "1.2.3"')
            continue
        with reader.problems.catching():
            text = f"{name} @ {value}" if "://" in value else f"{name}{value if value[:1] in '<>=!~' else '==' + value}"
            found.append(read_pep508(text, Place(text, reader.toml.origin(*key), reader.files, folder=reader.folder)))
    return found
