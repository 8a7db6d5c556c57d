"""Passwords of registries, where docker and podman keep them: their configuration files and the helpers that those name."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lading.images.reference import Reference
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.secrets import Secret

_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; an empty user with an identity token."""

    user: str
    password: Secret


def find_login(reference: Reference, environ: Mapping[str, str] | None = None) -> Login | None:
    """The login for a registry, from ``REGISTRY_AUTH_FILE``, podman's auth.json or docker's config.json; None without one.

    As in podman, a login for a repository or a part of its path wins over the registry's. A helper for all registries (``credsStore``) is
    asked last, as docker asks it: also where no ``docker login`` was.

    Raises:
        LadingError: if the login that a file has for it cannot be read.
    """
    variables = os.environ if environ is None else environ
    names = list(_names(reference))
    for path in _files(variables):
        config = _read(path)
        for name in names:
            try:
                login = _of(config, name, variables)
            except (ValueError, TypeError) as error:
                raise LadingError(_unreadable(path, name)) from error
            if login is not None:
                return login
        for_all = config.get("credsStore")
        login = _ask(str(for_all), _HUB[0] if reference.registry == "docker.io" else reference.registry, variables) if for_all else None
        if login is not None:
            return login
    return None


def _unreadable(path: Path, name: str) -> Problem:
    return Problem(
        rule="registry-login-unreadable",
        what=f"The login for {name} cannot be read.",
        origin=Origin(str(path)),
        why='Its "auth" is not the base64 of USER:PASSWORD.',
        instead=f"Log in anew with `podman login {name}` or `docker login {name}`, or take the entry out.",
        code=ExitCode.NETWORK,
    )


def _names(reference: Reference) -> Iterable[str]:
    parts = f"{reference.registry}/{reference.repository}".split("/")
    for end in range(len(parts), 0, -1):
        yield "/".join(parts[:end])
    yield from (f"https://{reference.registry}", f"http://{reference.registry}", f"https://{reference.registry}/v1/")
    if reference.registry == "docker.io":
        yield from _HUB


def _files(environ: Mapping[str, str]) -> Iterable[Path]:
    user = Path(environ.get("HOME") or Path.home())
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
    if environ.get("XDG_RUNTIME_DIR"):
        yield Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield Path(environ.get("XDG_CONFIG_HOME") or user / ".config") / "containers" / "auth.json"
    yield Path(environ.get("DOCKER_CONFIG") or user / ".docker") / "config.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _of(config: Mapping[str, Any], name: str, environ: Mapping[str, str]) -> Login | None:
    helpers, entry = _table(config, "credHelpers"), _table(config, "auths").get(name)
    if name in helpers:
        return _ask(str(helpers[name]), name, environ)
    if isinstance(entry, dict) and entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"]).decode("utf-8", "replace").partition(":")
        token = entry.get("identitytoken")
        return Login("", Secret(token)) if token else Login(user, Secret(password.strip("\0")))
    if isinstance(entry, dict) and entry.get("username"):
        return Login(str(entry["username"]), Secret(str(entry.get("password", ""))))
    store = config.get("credsStore")
    return _ask(str(store), name, environ) if store and isinstance(entry, dict) else None


def _table(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = config.get(key)
    return table if isinstance(table, dict) else {}


def _ask(helper: str, name: str, environ: Mapping[str, str]) -> Login | None:
    """Ask a credential helper (``docker-credential-NAME get``)."""
    try:
        answer = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=name.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env=dict(environ),
        ).stdout
        record = json.loads(answer)
        user = str(record["Username"])
        return Login("" if user == "<token>" else user, Secret(str(record["Secret"])))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
