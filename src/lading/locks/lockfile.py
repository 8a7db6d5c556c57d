"""``pylock.lading.toml``: a PEP 751 lock with our own records under ``[tool.lading]``.

The text holds no credential and no path of a machine, and is the same for the same lock: packages, files and keys stand in
one order. Keys that Lading does not know are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from lading.model.conda import CondaLock
from lading.model.decisions import Decision
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import SecretUrl, redact_urls

FORMAT = 1
"""The version of ``[tool.lading]``; PEP 751's own is ``lock-version``."""

_HEADER = """\
# The exact Python packages of this project, with their hashes (PEP 751). Made by Lading; uv and pip read it too.
# Do not edit: change the project's dependency file and run `lading lock` (`lading lock --upgrade` for newer versions).

"""
_DOCUMENT_KEYS = ("lock-version", "created-by", "requires-python", "environments", "extras", "dependency-groups", "default-groups")
_PACKAGE_KEYS = ("name", "version", "marker", "requires-python", "index", "dependencies", "vcs", "directory", "archive", "sdist", "wheels")
_FILE_KEYS = ("name", "type", "url", "path", "editable", "subdirectory", "requested-revision", "commit-id", "size", "upload-time", "hashes")
_LINE = pattern(r"at line (\d+)")


def write(lock: Lock) -> str:
    """The lock as TOML.

    Raises:
        LadingError: if a package's files are named by an absolute path, which would hold on this machine only.
    """
    document = {key: value for key, value in lock.document.items() if key not in ("packages", "tool")}
    packages = sorted((_ordered_package(package) for package in lock.packages), key=_package_order)
    problems = [problem for package in packages for problem in _machine_paths(package)]
    if problems:
        raise LadingError(*problems)
    whole = {**_in_order(document, _DOCUMENT_KEYS), "packages": packages, "tool": _tools(lock)}
    from lading.locks.toml_text import dumps  # noqa: PLC0415 -- for writing alone

    return _HEADER + dumps(_without_credentials(whole))


def _tools(lock: Lock) -> dict[str, Any]:
    tools = dict(lock.document.get("tool", {}))
    own = {
        **tools.pop("lading", {}),
        "format": FORMAT,
        "fingerprint": lock.fingerprint,
        "target": dict(lock.target),
        "tools": dict(sorted(lock.tools.items())),
        "sources": dict(sorted(lock.sources.items())),
        **({"as-of": lock.as_of} if lock.as_of else {}),
        **({"source": lock.source} if lock.source is not None else {}),
        **({"requirements": list(lock.requirements)} if lock.requirements else {}),
        "decisions": [decision.as_json() for decision in lock.decisions],
        **({"conda": lock.conda.as_table()} if lock.conda else {}),
    }
    return {**dict(sorted(tools.items())), "lading": own}


def _package_order(package: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(package.get("name", "")), str(package.get("version", "")), str(package.get("marker", ""))


def _ordered_package(package: Mapping[str, Any]) -> dict[str, Any]:
    ordered = _in_order(package, _PACKAGE_KEYS)
    for key in ("vcs", "directory", "archive", "sdist"):
        if isinstance(ordered.get(key), Mapping):
            ordered[key] = _in_order(ordered[key], _FILE_KEYS)
    if "wheels" in ordered:
        ordered["wheels"] = sorted((_in_order(wheel, _FILE_KEYS) for wheel in ordered["wheels"]), key=_file_name)
    return ordered


def _file_name(file: Mapping[str, Any]) -> str:
    place = str(file.get("name") or file.get("path") or file.get("url") or "")
    return place.rpartition("/")[2]


def _in_order(table: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    first = [key for key in known if key in table]
    return {key: table[key] for key in [*first, *sorted(set(table) - set(first))]}


def _without_credentials(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _bare_url(item) if key in ("url", "index") and isinstance(item, str) else _without_credentials(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_credentials(item) for item in value]
    return redact_urls(value) if isinstance(value, str) else value


def _bare_url(url: str) -> str:
    return SecretUrl(url).without_credentials()


def _machine_paths(package: Mapping[str, Any]) -> Iterable[Problem]:
    files = [package[key] for key in ("vcs", "directory", "archive", "sdist") if isinstance(package.get(key), Mapping)]
    for file in (*files, *package.get("wheels", ())):
        path, url = str(file.get("path", "")), str(file.get("url", ""))
        if is_absolute(path) or url.lower().startswith("file:"):
            yield machine_path_problem(str(package.get("name")), path or url)
            return


def is_absolute(path: str) -> bool:
    """Whether a path is absolute on any platform."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def machine_path_problem(subject: str, place: str, origin: Origin | None = None) -> Problem:
    """What is said about files that only this machine has at that place."""
    return Problem(
        rule="lock-machine-path",
        what=f"{subject} comes from {redact_urls(place)}, a place on this machine outside of the project.",
        origin=origin,
        why="A lock file travels with the project, so it can only name files inside the project or on a server.",
        instead="Move the files into the project and name them by a relative path (./wheels), or serve them from an index.",
        code=ExitCode.RESOLUTION,
    )


def read(text: str, path: str, *, validate: bool = True) -> Lock:
    """A lock from its text; ``path`` is its name, for messages. With ``validate`` the PEP 751 part is checked against the standard.

    A pylock that another tool made is read as well; its fingerprint is empty, so that every plan finds it out of date.

    Raises:
        LadingError: if the text is no TOML, no valid lock, or made for a newer version of the format.
    """
    document = _parsed(text, path)
    _check_version(str(document.get("lock-version", "")), path)
    if validate:
        _validate(document, path)
    try:
        tool = dict(document.pop("tool", {}))
        own = dict(tool.pop("lading", {}))
        known = own.pop("format", FORMAT) == FORMAT
        records = _records(own) if known else {}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LadingError(_damaged(path, f"the [tool.lading] table is not as Lading writes it ({error})")) from error
    if not known:
        raise LadingError(_too_new(path, "its [tool.lading] table has another format than this version of Lading writes"))
    kept = {**tool, **({"lading": own} if own else {})}
    return Lock(document={**document, **({"tool": kept} if kept else {})}, **records)


def _records(own: dict[str, Any]) -> dict[str, Any]:
    return {
        "fingerprint": str(own.pop("fingerprint", "")),
        "target": _texts(own.pop("target", {})),
        "sources": _texts(own.pop("sources", {})),
        "tools": _texts(own.pop("tools", {})),
        "requirements": _text_list(own.pop("requirements", [])),
        "as_of": _text(own.pop("as-of")) if "as-of" in own else None,
        "source": _text(own.pop("source")) if "source" in own else None,
        "decisions": tuple(Decision.from_json(record) for record in own.pop("decisions", ())),
        "conda": CondaLock.from_table(own.pop("conda")) if "conda" in own else None,
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, found {value!r}")  # noqa: TRY004 -- one kind of error for all that is damaged
    return value


def _texts(table: Mapping[str, Any]) -> dict[str, str]:
    return {key: _text(value) for key, value in table.items()}


def _text_list(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"a list was expected, found {values!r}")  # noqa: TRY004 -- as above
    return tuple(_text(value) for value in values)


def _parsed(text: str, path: str) -> dict[str, Any]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise LadingError(_merge_conflict(path, number))
    import tomllib  # noqa: PLC0415 -- for reading alone

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        raise LadingError(_damaged(path, f"it is not valid TOML: {error}", int(found[1]) if found else None)) from error


def _validate(document: Mapping[str, Any], path: str) -> None:
    from packaging.pylock import Pylock, PylockValidationError  # noqa: PLC0415  (40 ms, for those who ask for it)

    try:
        Pylock.from_dict(document)
    except PylockValidationError as error:
        raise LadingError(_damaged(path, f"it is not a valid lock: {error}")) from error


def _check_version(version: str, path: str) -> None:
    major = version.partition(".")[0]
    if major.isdigit() and int(major) > 1:
        raise LadingError(_too_new(path, f"its lock-version is {version}, and this version of Lading reads 1.x"))


def _too_new(path: str, why: str) -> Problem:
    return Problem(
        rule="lock-too-new",
        what=f"{path} was written for a newer version of Lading.",
        origin=Origin(path),
        why=f"It cannot be read safely: {why}.",
        instead="Upgrade Lading, or delete the file and run `lading lock` to make it anew.",
        code=ExitCode.LOCK,
    )


def _damaged(path: str, why: str, line: int | None = None) -> Problem:
    return Problem(
        rule="lock-damaged",
        what=f"{path} cannot be read as a lock file.",
        origin=Origin(path, line),
        why=f"{redact_urls(why[:1].upper() + why[1:]).rstrip('.')}.",
        instead="Take the file from version control again, or delete it and run `lading lock`.",
        code=ExitCode.LOCK,
    )


def _merge_conflict(path: str, line: int) -> Problem:
    return Problem(
        rule="lock-merge-conflict",
        what=f"{path} holds the conflict markers of a merge.",
        origin=Origin(path, line),
        why="Two branches changed the lock; its lines cannot be mixed by hand.",
        instead="Settle the dependency files first, then delete the lock and run `lading lock`.",
        code=ExitCode.LOCK,
    )
