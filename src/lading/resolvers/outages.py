"""Indexes that do not answer, ask for a password, or fail: exit code 5."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lading.model.origin import Origin
from lading.model.problems import ExitCode, Problem
from lading.model.secrets import SecretUrl
from lading.resolvers.cases import Said

HOW_TO_AUTHENTICATE = (
    "Put the credentials into the index's URL as environment variables (https://${INDEX_USER}:${INDEX_TOKEN}@HOST/...), "
    "or into ~/.netrc (machine NAME login USER password TOKEN)."
)


def password_asked(said: Said) -> Problem | None:
    """An index answered 401, 403 or 407."""
    return refused(said, said.found["url"], int(said.found["status"]))


def refused(said: Said, url: str, status: int) -> Problem:
    """The problem of an index that wants credentials, or does not take those it was given."""
    place = _plain(url)
    host = urlsplit(place).netloc
    given = _credentials_given(said, host)
    words = {401: "asked for a user name and a password", 407: "is behind a proxy that asked for a password"}
    what = f"{place} refused the credentials that it was given." if given else f"{place} {words.get(status, 'denied access')}."
    return Problem(
        rule="index-asks-for-password",
        what=what,
        origin=_line_with(said, host),
        why=f"It answered {status}.",
        instead="Check the user name and the password or token." if given else _how_to_authenticate(host),
        code=ExitCode.NETWORK,
    )


def _how_to_authenticate(host: str) -> str:
    return HOW_TO_AUTHENTICATE.replace("HOST", host).replace("NAME", host.partition(":")[0])


def _credentials_given(said: Said, host: str) -> bool:
    plan = said.case.plan
    urls = [secret for secret in plan.secrets() if isinstance(secret, SecretUrl)]
    return any(urlsplit(url.without_credentials()).netloc == host for url in urls)


def _line_with(said: Said, host: str) -> Origin | None:
    for declared in said.case.plan.requirements:
        for url in (declared.url, declared.index, declared.find_links):
            if url and urlsplit(url.without_credentials()).netloc == host:
                return declared.origin
    return None


def _plain(url: str) -> str:
    return SecretUrl(url.strip("`")).without_credentials()


def not_there(said: Said) -> Problem:
    """A URL answered 404 or its like."""
    url = _plain(said.found["url"])
    return Problem(
        rule="url-not-found",
        what=f"There is nothing at {url}.",
        origin=_line_with(said, urlsplit(url).netloc),
        why=f"The server answered {said.found['status']}.",
        instead="Correct the URL; files of old releases may have been moved or deleted.",
        code=ExitCode.NETWORK,
    )


def failing(said: Said) -> Problem:
    """A server answered 5xx."""
    url = _plain(said.found["url"])
    host = urlsplit(url).netloc
    return Problem(
        rule="index-failing",
        what=f"{host} is not working: it answered {said.found['status']}.",
        origin=_line_with(said, host),
        why=f"Lading asked for {url}.",
        instead="Try again later, or name another index that has the packages.",
        code=ExitCode.NETWORK,
    )


def unreachable(said: Said) -> Problem:
    """No connection: name resolution, refused, timed out, certificate."""
    url = _plain(said.found["url"])
    host = urlsplit(url).netloc or url
    causes = re.findall(r"^\s+cause: (.+)$", said.text, re.MULTILINE)
    return unreachable_host(said, host, causes[-1] if causes else "")


def unreachable_host(said: Said, host: str, cause: str) -> Problem:
    """The problem of a server that cannot be reached."""
    return Problem(
        rule="index-unreachable",
        what=f"{host} cannot be reached.",
        origin=_line_with(said, host),
        why=f"{cause[:1].upper()}{cause[1:].rstrip('.')}." if cause else "It did not answer.",
        instead="Check the address and the network (proxies: HTTPS_PROXY; own certificates: SSL_CERT_FILE). "
        f"With --offline, Lading uses what was downloaded before.{_way_to_torch(said, host)}",
        code=ExitCode.NETWORK,
    )


def _way_to_torch(said: Said, host: str) -> str:
    """Another way to torch, where the server is the one that its builds come from."""
    hosts = [urlsplit(one.index.url.without_credentials()).netloc for one in said.case.bound if "torch" in one.packages]
    if host not in hosts:
        return ""
    return " torch's builds come from there: LADING_TORCH_INDEX names a mirror of it; LADING_TORCH_INDEX=off takes torch from the ordinary index."


def not_cached(said: Said) -> Problem:
    """Something is needed that is not in uv's cache, and the network may not be used."""
    names = list(dict.fromkeys(re.findall(r"([\w.-]+)(?:==\S+)? was not found in the cache", said.text)))
    subject = ", ".join(names) if names else "What is needed"
    return Problem(
        rule="offline-not-cached",
        what=f"{subject} {'were' if len(names) > 1 else 'was'} not downloaded before, and --offline forbids to do it now.",
        origin=said.origin(names[0] if names else None),
        why="Offline, packages come from uv's cache alone.",
        instead="Run once without --offline.",
        code=ExitCode.NETWORK,
        detail=said.detail(),
    )
