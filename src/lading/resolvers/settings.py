"""The environment that uv is started with: indexes and their credentials, and nothing that would change the lock unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lading.model.patterns import pattern
from lading.model.plan import Plan
from lading.model.secrets import Secret, SecretUrl
from lading.resolvers.bindings import Binding
from lading.resolvers.netrcs import from_netrc
from lading.resolvers.places import checked_path, file_url, is_outside, is_remote
from lading.resolvers.witness import LOG_LEVELS

_ALLOWED = pattern(
    r"UV_(CACHE_DIR|HTTP_TIMEOUT|REQUEST_TIMEOUT|HTTP_CONNECT_TIMEOUT|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|KEYRING_PROVIDER"
    r"|CREDENTIALS_DIR|CONCURRENT_\w+|INDEX_\w+_(USERNAME|PASSWORD))"
)
_CLUSTER = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_REDIS_PASSWORD")
"""What opens the cluster that this machine is a node of: no business of a package's build."""
_FIXED = {
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
    "UV_HTTP_RETRIES": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "NO_COLOR": "1",
    "RUST_LOG": LOG_LEVELS,
}


def environment(plan: Plan, bound: Iterable[Binding], root: Path, left_out: frozenset[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for uv. ``left_out`` are places that are not offered to it (`outside_places`).

    Settings of uv and pip that would change what is locked without being written anywhere (``UV_EXCLUDE_NEWER``,
    ``UV_CONSTRAINT``) are not handed on; how to reach servers is.

    Raises:
        LadingError: if an index is a folder outside of the project.
    """
    env = {name: value for name, value in environ.items() if not name.startswith(("UV_", "PIP_")) or _ALLOWED.fullmatch(name)}
    for name in ("COLUMNS", *_CLUSTER):  # uv would fold its sentences, which are matched
        env.pop(name, None)
    env = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **env, **_FIXED, **_indexes(plan, root, left_out, _index_names(environ))}
    for binding in bound:
        env |= _credentials(binding)
    if _wants_keyring(plan, environ):
        env["UV_KEYRING_PROVIDER"] = "subprocess"
    return env


def _wants_keyring(plan: Plan, environ: Mapping[str, str]) -> bool:
    """Whether passwords may be in a keyring: pip was told so, or an index's URL has a user and no password, and `keyring` is here.

    uv asks the `keyring` program, as pip does with ``--keyring-provider subprocess``.
    """
    if "UV_KEYRING_PROVIDER" in environ or environ.get("PIP_KEYRING_PROVIDER") == "disabled":
        return False
    options = plan.options
    urls = (*([options.index_url] if options.index_url else []), *options.extra_index_urls, *(index.url for index in plan.bound))
    parts = [urlsplit(url.reveal()) for url in urls]
    asked = environ.get("PIP_KEYRING_PROVIDER") in ("auto", "import", "subprocess")
    if not asked and not any(one.username and one.password is None for one in parts):
        return False
    from shutil import which  # noqa: PLC0415 -- for those few

    return which("keyring") is not None


def _indexes(plan: Plan, root: Path, left_out: frozenset[str], names: Mapping[str, str]) -> dict[str, str]:
    options = plan.options
    extra = [_index(url, names, root) for url in options.extra_index_urls if url.reveal() not in left_out]
    links = [url.reveal().replace(",", "%2C") for url in options.find_links if url.has_credentials]
    values = {
        "UV_DEFAULT_INDEX": _index(options.index_url, names, root) if options.index_url else "",
        "UV_INDEX": " ".join(extra),
        "UV_FIND_LINKS": ",".join(links),
    }
    return {name: value for name, value in values.items() if value}


def _index(url: SecretUrl, names: Mapping[str, str], root: Path) -> str:
    place = url.reveal()
    if not is_remote(place):
        return file_url(checked_path(place, root, "The package index"))
    return f"{names[place]}={place}" if place in names else place


def _index_names(environ: Mapping[str, str]) -> dict[str, str]:
    """Names that the user gave to indexes (``UV_INDEX=corp=https://...``): ``UV_INDEX_CORP_PASSWORD`` hangs on them."""
    words = " ".join(environ.get(name, "") for name in ("UV_INDEX", "UV_DEFAULT_INDEX")).split()
    pairs = [word.partition("=") for word in words]
    return {url: name for name, equals, url in pairs if equals and re.fullmatch(r"[\w.-]+", name)}


def _credentials(binding: Binding) -> dict[str, str]:
    parts = urlsplit(binding.index.url.reveal())
    if not binding.index.url.has_credentials or parts.username is None:
        return {}
    prefix = f"UV_INDEX_{binding.name.upper().replace('-', '_')}"
    password = {} if parts.password is None else {f"{prefix}_PASSWORD": unquote(parts.password)}
    return {f"{prefix}_USERNAME": unquote(parts.username), **password}


def has_private_index(plan: Plan, env: Mapping[str, str]) -> bool:
    """Whether an index for all packages is behind credentials: in its URL, in variables for it, or in a netrc."""
    options = plan.options
    urls = [*([options.index_url] if options.index_url else []), *options.extra_index_urls]
    named = {
        name for name in env if name.startswith("UV_INDEX_") and name.endswith("_USERNAME") and not name.startswith("UV_INDEX_LADING_")
    }
    hosts = [urlsplit(url.without_credentials()).hostname or "" for url in urls]
    return any(url.has_credentials for url in urls) or bool(named) or any(from_netrc(host) for host in hosts)


def secrets(env: Mapping[str, str]) -> tuple[Secret, ...]:
    """Every credential in uv's environment, for a `Redactor`."""
    passwords = [Secret(value) for name, value in env.items() if name.startswith("UV_INDEX_") and name.endswith("_PASSWORD")]
    words = " ".join(env.get(name, "") for name in ("UV_INDEX", "UV_DEFAULT_INDEX")).split()
    urls = [SecretUrl(re.sub(r"^[\w.-]+=", "", word)) for word in words]
    return (*passwords, *(url for url in urls if url.has_credentials))


def outside_places(plan: Plan, root: Path, environ: Mapping[str, str]) -> frozenset[str]:
    """Folders outside of the project where this machine's settings (``PIP_FIND_LINKS``), not the project, say to look.

    A lock cannot name their files, so they are left out and the user is told; a folder that the project names is refused.
    """
    machine = " ".join(value for name, value in environ.items() if name.startswith(("PIP_", "UV_"))).replace(",", " ").split()
    places = (url.reveal() for url in (*plan.options.find_links, *plan.options.extra_index_urls))
    return frozenset(place for place in places if not is_remote(place) and is_outside(place, root) and place in machine)
