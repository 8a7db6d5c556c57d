"""Install scripts: which there are, what they do as far as that can be told, and that they are not run unasked."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from lading.model.files import ProjectFiles, content_hash
from lading.model.origin import Origin
from lading.model.project import Api, ProjectConfig, ProjectKind
from lading.model.scripts import Script, When
from lading.model.secrets import redact_urls

if TYPE_CHECKING:
    from lading.formats._pip_commands import Meaning

CORTEX, REPO2DOCKER = "dependencies.sh", "postBuild"


def find_scripts(config: ProjectConfig, apis: tuple[Api, ...], files: ProjectFiles) -> tuple[Script, ...]:
    """The scripts of a set of APIs: Cortex's, named or in its usual place, and repo2docker's ``postBuild``."""
    found: dict[str, Script] = {}
    folder = posixpath.dirname(config.path or "")
    if config.kind is ProjectKind.CORTEX:
        for api in apis:
            named = api.dependencies.shell
            path, origin = (named.path, named.origin) if named else (posixpath.join(folder, CORTEX), None)
            content = files.read(path)
            if content is not None:
                found.setdefault(path, _script(path, origin or Origin(path), content, When.BEFORE))
    content = files.read(REPO2DOCKER)
    if content is not None:
        found[REPO2DOCKER] = _script(REPO2DOCKER, Origin(REPO2DOCKER), content, When.AFTER)
    return tuple(found.values())


def _script(path: str, origin: Origin, content: bytes, when: When) -> Script:
    text = content.decode("utf-8", "replace")
    lines = (line.strip() for line in text.splitlines())
    commands = tuple(redact_urls(line) for line in lines if line and not line.startswith("#"))
    harmless, because, packages = _judged(text)
    return Script(
        path=path,
        origin=origin,
        sha256=content_hash(content),
        commands=commands,
        when=when,
        harmless=harmless,
        because=because,
        system_packages=packages,
    )


def _judged(text: str) -> tuple[bool, str, tuple[str, ...]]:
    from lading.formats._pip_commands import meaning  # noqa: PLC0415 -- most projects have no script
    from lading.formats._shell import NotUnderstood  # noqa: PLC0415 -- as above

    if "\0" in text:
        return False, "it is no text", ()
    try:
        found = meaning(text)
    except NotUnderstood as reason:
        return False, redact_urls(str(reason)), ()
    if found.is_harmless:
        return True, _harmless(found), found.system_packages
    return False, "it installs Python packages, which the requirements should declare", found.system_packages


def _harmless(found: Meaning) -> str:
    parts = ["copies pip.conf, which Lading reads where it lies"] if found.copies_pip_conf else []
    parts += ["installs system packages, which Lading checks"] if found.system_packages else []
    return f"it only {' and '.join(parts)}" if parts else "it does nothing"
