"""A lock as it is installed for serving from the project's folder: the project itself in editable mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lading.model.lock import Lock
from lading.model.records import replace

_FIRST_MINOR = 8
"""Python 3.7's last setuptools is the first that installs in editable mode by PEP 660, and barely."""


def editable_project(lock: Lock) -> Lock | None:
    """The lock with the project's own package (``.``) editable, so that its changes count at once; None where nothing differs.

    ``.`` is installed as it is written in an image, which has no folder to edit.
    """
    version = lock.target.get("python", "").split(".")
    if version[:1] != ["3"] or not version[1].isdigit() or int(version[1]) < _FIRST_MINOR:
        return None
    packages = [_editable(package) for package in lock.packages]
    if packages == list(lock.packages):
        return None
    return replace(lock, document={**lock.document, "packages": packages})


def _editable(package: Mapping[str, Any]) -> Mapping[str, Any]:
    directory = package.get("directory")
    if not isinstance(directory, Mapping) or directory.get("path") != "." or "subdirectory" in directory:
        return package
    return {**package, "directory": {**directory, "editable": True}}
