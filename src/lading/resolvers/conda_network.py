"""How the network is reached where a ``.condarc`` says it: proxies, the certificates that are trusted, or that none is checked.

py-rattler reads the proxy variables and ``SSL_CERT_FILE`` when a client is made, so that is when they are set to what the ``.condarc`` says. As in conda, a
proxy variable of the environment wins. Only a client made from a configuration can leave certificates unchecked, and such a client takes
credentials from a file alone, which it reads once.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lading.model.conda import UNVERIFIED, ChannelUrl, Network
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

if TYPE_CHECKING:
    from rattler import Client

RETRIES = 1
"""As often as uv asks again, after an answer or a failure that may be gone the next moment."""
_AUTH_FILE = "RATTLER_AUTH_FILE"


@contextmanager
def reached_as_configured(network: Network) -> Iterator[None]:
    """Make clients in here, and they reach the network as it is configured.

    Raises:
        LadingError: if the file of certificates is not there.
    """
    variables = {**_proxies(network, os.environ), **_certificates(network)}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _proxies(network: Network, environ: Mapping[str, str]) -> dict[str, str]:
    named = {f"{scheme}_PROXY".upper(): url.reveal() for scheme, url in network.proxies}
    return {name: url for name, url in named.items() if name not in environ and name.lower() not in environ}


def _certificates(network: Network) -> dict[str, str]:
    if network.verify in ("", UNVERIFIED):
        return {}
    path = Path(network.verify)
    if not path.exists():
        raise LadingError(
            Problem(
                rule="condarc-certificates-missing",
                what=f"ssl_verify names {network.verify}, and there is no such file.",
                origin=Origin(network.path),
                why="It holds the certificates that channels are checked against.",
                instead="Correct the path, or remove the line so that the machine's own certificates count.",
                code=ExitCode.NETWORK,
            )
        )
    return {"SSL_CERT_DIR" if path.is_dir() else "SSL_CERT_FILE": network.verify}


def unverified_client(mirrors: Mapping[str, list[str]], urls: Iterable[ChannelUrl]) -> Client:
    """A client that takes any certificate, as ``ssl_verify: false`` asks."""
    from rattler import Client, Config  # noqa: PLC0415 -- an optional part

    config = Config()
    config.set("tls-no-verify", "true")
    if mirrors:
        config.set("mirrors", json.dumps(mirrors))
    known = _known_credentials(urls)
    if not known:
        return Client.from_config(config, max_retries=RETRIES)
    with tempfile.TemporaryDirectory(prefix="lading-") as folder:  # only this user may enter it
        place = Path(folder) / "credentials.json"
        place.write_text(json.dumps({**_machines_own(), **known}), encoding="utf-8")
        config.set("authentication-override-file", str(place))
        return Client.from_config(config, max_retries=RETRIES)


def _known_credentials(urls: Iterable[ChannelUrl]) -> dict[str, object]:
    """User names and passwords by host, as rattler's file has them."""
    found: dict[str, object] = {}
    for parts in (urlsplit(url.reveal()) for url in urls):
        if parts.username is not None and parts.hostname:
            pair = {"username": unquote(parts.username), "password": unquote(parts.password or "")}
            found[parts.hostname] = {"BasicHTTP": pair}
    return found


def _machines_own() -> dict[str, object]:
    """What the file that the user keeps for rattler holds; it would not be read beside another one."""
    try:
        found = json.loads(Path(os.environ[_AUTH_FILE]).read_bytes())
    except (KeyError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
