"""How uv may reach what a lock names: the plan's indexes, and the credentials that the lock does not hold. Nothing of it is written."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from lading.model.plan import Plan
from lading.model.records import dataclass
from lading.model.requirements import Via
from lading.model.secrets import Redactor, Secret, SecretUrl
from lading.resolvers import settings
from lading.resolvers.bindings import Binding, bindings
from lading.resolvers.places import is_remote

_NOT_FOR_BUILDS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """``env`` are uv's variables. ``doors`` are places that it has credentials for, by the name that the variables use for them."""

    env: Mapping[str, str]
    doors: Mapping[str, str]
    bound: tuple[Binding, ...]
    left_out: frozenset[str]
    redact: Redactor


def make_access(plan: Plan, root: Path, environ: Mapping[str, str] | None = None) -> Access:
    """What uv needs to install a lock of this plan.

    A lock names files without the credentials of their servers. uv takes those by server from any index that it knows; so each place
    of the plan with credentials becomes an explicit index, from which nothing is taken unasked. git takes them as a header.

    Raises:
        LadingError: if an index is a folder outside of the project.
    """
    variables = os.environ if environ is None else environ
    bound = bindings(plan)
    left_out = settings.outside_places(plan, root, variables)
    env = settings.environment(plan, bound, root, left_out, variables)
    env = {name: value for name, value in env.items() if name not in _NOT_FOR_BUILDS}
    if "UV_LINK_MODE" in variables:
        env["UV_LINK_MODE"] = variables["UV_LINK_MODE"]
    doors: dict[str, str] = {}
    for number, url in enumerate(_with_credentials(plan), start=1):
        name = f"lading-door-{number}"
        doors[name] = url.without_credentials()
        env |= _credentials(url, name)
    headers = tuple(_git_headers(plan))
    env |= _git_config(headers, env)
    secrets = (*plan.secrets(), *settings.secrets(env), *(Secret(value.rpartition(" ")[2]) for _, value in headers))
    return Access(env=env, doors=doors, bound=bound, left_out=left_out, redact=Redactor(secrets))


def _with_credentials(plan: Plan) -> Iterable[SecretUrl]:
    """The folders of direct URLs, and the indexes that belong to some packages alone; the others reach uv as indexes already."""
    places = [*(index.url for index in plan.bound)]
    for declared in plan.requirements:
        places += [url for url in (declared.index, declared.find_links) if url]
        if declared.url and declared.via is Via.URL:
            parts = urlsplit(declared.url.reveal())
            folder = urlunsplit(parts._replace(path=parts.path.rpartition("/")[0] + "/", query="", fragment=""))
            places.append(SecretUrl(folder, declared.url.variables))
    return [url for url in dict.fromkeys(places) if is_remote(url.reveal()) and urlsplit(url.reveal()).username is not None]


def _credentials(url: SecretUrl, name: str) -> dict[str, str]:
    parts = urlsplit(url.reveal())
    prefix = f"UV_INDEX_{name.upper().replace('-', '_')}"
    password = {} if parts.password is None else {f"{prefix}_PASSWORD": unquote(parts.password)}
    return {f"{prefix}_USERNAME": unquote(parts.username or ""), **password}


def _git_headers(plan: Plan) -> Iterable[tuple[str, str]]:
    """What git must be told (setting, value) for each repository that is required with credentials over HTTP."""
    for declared in plan.requirements:
        if declared.via is not Via.VCS or declared.url is None:
            continue
        parts = urlsplit(declared.url.reveal().removeprefix("git+"))
        if parts.scheme in ("http", "https") and parts.username is not None:
            plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
            place, at, revision = plain.rpartition("@")
            place = place if at and "//" in place else revision
            token = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
            yield f"http.{place}.extraHeader", f"Authorization: Basic {token}"


def _git_config(headers: tuple[tuple[str, str], ...], env: Mapping[str, str]) -> dict[str, str]:
    if not headers:
        return {}
    text = env.get("GIT_CONFIG_COUNT", "0")
    start = int(text) if text.isdigit() else 0
    config = {"GIT_CONFIG_COUNT": str(start + len(headers))}
    for number, (key, value) in enumerate(headers, start=start):
        config |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return config
