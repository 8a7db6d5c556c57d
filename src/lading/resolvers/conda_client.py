"""How conda channels are reached: py-rattler, its cache, and the credentials that a lock does not hold."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lading.model.conda import UNVERIFIED, ChannelUrl, CondaPlan, Network, redact_conda
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.resolvers.conda_network import RETRIES, reached_as_configured, unverified_client

if TYPE_CHECKING:
    from rattler import Client, Gateway

_CACHE = "conda"
_REPODATA, _PACKAGES = "repodata", "pkgs"


@dataclass(frozen=True, slots=True)
class Caches:
    """Where channels' indexes and packages are kept on this machine."""

    repodata: str
    packages: str


def caches(store: str, environ: Mapping[str, str]) -> Caches:
    """``RATTLER_CACHE_DIR`` where it is set, as for other programs that stand on rattler; else a folder of the store.

    Prefixes are hard links into the packages' cache, so that both lie on one file system.
    """
    folder = environ.get("RATTLER_CACHE_DIR") or os.path.join(store, _CACHE)  # noqa: PTH118 -- a path of the store, which are texts
    return Caches(os.path.join(folder, _REPODATA), os.path.join(folder, _PACKAGES))  # noqa: PTH118 -- as above


def require_rattler(origin: Origin | None) -> None:
    """Make sure that py-rattler is there.

    Raises:
        LadingError: if it is not installed.
    """
    try:
        import rattler  # noqa: F401, PLC0415 -- an optional part, and 35 ms
    except ImportError as error:
        raise LadingError(
            Problem(
                rule="conda-extra-missing",
                what="This project needs conda packages, and py-rattler, which solves and installs them for Lading, is not here.",
                origin=origin,
                why=f"It is 80 MB that most projects do without ({error}).",
                instead="Run: pip install 'lading[conda]'",
                code=ExitCode.USAGE,
            )
        ) from error


def client(plan: CondaPlan | None) -> Client:
    """A client that knows the credentials of the plan's channels and their mirrors; without a plan, those of this machine alone.

    Channels are asked for by their bare URLs, which is what records and locks name: a token goes into the path on the way out, a password
    into a header. Credentials of ``RATTLER_AUTH_FILE``, the keyring and netrc count as well. Proxies and certificates are those of the usual
    variables, or of the plan's ``.condarc``.

    Raises:
        LadingError: if a file of certificates is named that is not there.
    """
    specs = plan.specs if plan else ()
    places = (*(plan.channels if plan else ()), *(spec.channel for spec in specs), *(spec.url for spec in specs))
    urls = [url for url in places if url is not None]
    known = plan.mirrors if plan else ()
    mirrors = _mirrors(known, urls)
    everywhere = [*urls, *(url for _, url in known)]
    with reached_as_configured(plan.network if plan else Network()):
        if plan and plan.network.verify == UNVERIFIED:
            return unverified_client(mirrors, everywhere)
        return _client(mirrors, _headers(everywhere))


def _client(mirrors: dict[str, list[str]], headers: Callable[[str, str], dict[str, str] | None] | None) -> Client:
    from rattler import Client  # noqa: PLC0415 -- as above
    from rattler.networking import (  # noqa: PLC0415 -- as above
        AddHeadersMiddleware,
        AuthenticationMiddleware,
        MirrorMiddleware,
        OciMiddleware,
        RetryMiddleware,
        S3Middleware,
    )

    return Client(
        [
            RetryMiddleware(RETRIES),
            *([MirrorMiddleware(mirrors)] if mirrors else []),
            *([AddHeadersMiddleware(headers)] if headers else []),
            AuthenticationMiddleware(),
            OciMiddleware(),
            S3Middleware(),
        ]
    )


def _mirrors(known: Iterable[tuple[str, ChannelUrl]], urls: Iterable[ChannelUrl]) -> dict[str, list[str]]:
    mirrors: dict[str, list[str]] = {}
    for channel, place in known:
        mirrors.setdefault(channel, []).append(_without_user(place))
    for url in urls:
        if url.token is not None:
            bare = url.without_credentials()
            channel = bare if not bare.endswith((".conda", ".tar.bz2")) else "/".join(bare.split("/")[:-2])
            whole = _without_user(url) if channel == bare else "/".join(_without_user(url).split("/")[:-2])
            mirrors.setdefault(channel, []).insert(0, whole)
    return {channel: list(dict.fromkeys(places)) for channel, places in mirrors.items()}


def _without_user(url: ChannelUrl) -> str:
    parts = urlsplit(url.reveal())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _headers(urls: Iterable[ChannelUrl]) -> Callable[[str, str], dict[str, str] | None] | None:
    known: list[tuple[str, str, str]] = []
    for url in urls:
        parts = urlsplit(url.reveal())
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            folder = parts.path.rpartition("/")[0] if parts.path.endswith((".conda", ".tar.bz2")) else parts.path
            known.append((parts.hostname or "", folder, f"Basic {base64.b64encode(pair.encode()).decode()}"))
    if not known:
        return None

    def find(host: str, path: str) -> dict[str, str] | None:
        for name, start, value in known:
            if host.partition(":")[0] == name and path.startswith(start):
                return {"Authorization": value}
        return None

    return find


def gateway(plan_client: Client, cache: Caches, *, offline: bool) -> Gateway:
    """What answers questions about channels, from the cache alone when ``offline``."""
    from rattler import Gateway, SourceConfig  # noqa: PLC0415 -- as above

    config = SourceConfig(cache_action="force-cache-only" if offline else "cache-or-fetch")
    return Gateway(cache_dir=cache.repodata, default_config=config, client=plan_client)  # type: ignore[arg-type] # a text is a path to it


def certificate_refused(subject: str, told: str, origin: Origin | None) -> Problem:
    """A server whose certificate is not trusted; ``told`` is what py-rattler says, without credentials."""
    return Problem(
        rule="conda-certificate-refused",
        what=f"{subject} shows a certificate that this machine does not trust.",
        origin=origin,
        why=told.replace("\nCaused by: ", "; "),
        instead="Name the file of the certificates to trust, as ssl_verify: in a .condarc or in SSL_CERT_FILE.",
        code=ExitCode.NETWORK,
    )


def _not_written(told: str) -> Problem:
    return Problem(
        rule="conda-cache-not-writable",
        what="The cache of channels' indexes cannot be written.",
        origin=Origin("RATTLER_CACHE_DIR" if os.environ.get("RATTLER_CACHE_DIR") else "LADING_HOME"),
        why=told.replace("\nCaused by: ", "; "),
        instead="Make the folder writable and see that there is space, or name another one.",
    )


def unreachable(channel: str, error: Exception, origin: Origin | None, *, offline: bool) -> Problem:
    """A channel that does not answer, or not with a channel."""
    said = redact_conda(str(error)) or "it took too long (remote_read_timeout_secs in a .condarc)"
    told = re.sub(r"^Request failed after \d+ retries\nCaused by: ", "", said)
    first = told.partition("\n")[0]
    shown = redact_conda(channel)
    if re.search(r"failed to create|Read-only file system|No space left on device", said):
        return _not_written(told)
    if offline or "no usable repodata cache" in said:
        package = re.search(r"shard for package '([^']+)'", said)
        subject = f"What the channel {shown} has of {package[1]}" if package else f"The channel {shown}"
        return Problem(
            rule="conda-not-cached",
            what=f"{subject} is not in the cache, and the network is off (--offline).",
            origin=origin,
            instead="Run once without --offline, or use a lock that holds.",
            code=ExitCode.NETWORK,
            detail=said,
        )
    answered = re.search(r"HTTP status client error \((\d+)", first)  # these digits may stand in an address as well
    status = answered[1] if answered else ""
    if status in ("401", "403"):
        return Problem(
            rule="conda-channel-refused",
            what=f"The channel {shown} asks for credentials, or does not accept the ones that it got.",
            origin=origin,
            why=first,
            instead="Write them as ${VARIABLES} into the channel's URL (https://${USER}:${PASSWORD}@..., https://HOST/t/${TOKEN}/...), "
            "or into the file that RATTLER_AUTH_FILE names.",
            code=ExitCode.NETWORK,
        )
    if "certificate" in said:
        return certificate_refused(f"The channel {shown}", told, origin)
    if "failed to parse" in said:
        return Problem(
            rule="conda-channel-not-found",
            what=f"What {shown} answers is no index of a channel.",
            origin=origin,
            why=told.replace("\nCaused by: ", "; "),
            instead="Check the channel's spelling; the page of a proxy or of a login looks like this, too.",
            code=ExitCode.NETWORK,
        )
    if status == "404" or "could not find subdir" in first:
        return Problem(
            rule="conda-channel-not-found",
            what=f"There is no channel at {shown}.",
            origin=origin,
            why=said.replace("\n", "; "),
            instead="Check its spelling; a folder needs an index in each platform's folder (repodata.json).",
            code=ExitCode.NETWORK,
        )
    return Problem(
        rule="conda-channel-unreachable",
        what=f"The channel {shown} does not answer.",
        origin=origin,
        why=told.replace("\nCaused by: ", "; "),
        instead="Try again, check the network and its proxy (HTTPS_PROXY), or use --offline with what is in the cache.",
        code=ExitCode.NETWORK,
    )
