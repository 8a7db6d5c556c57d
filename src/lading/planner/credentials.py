"""Credentials that stand in files of the project: used, never shown, and reported with what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from lading.model.decisions import Decision, Kind
from lading.model.origin import Origin
from lading.model.plan import BoundIndex
from lading.model.requirements import Declared, IndexOptions
from lading.model.secrets import SecretUrl


def credential_decisions(
    requirements: Iterable[Declared], options: IndexOptions, bound: Iterable[BoundIndex], path: str
) -> tuple[Decision, ...]:
    """One advice for each place that a password or token is written for.

    Args:
        requirements: What is required, with URLs and indexes of single lines.
        options: The indexes that hold for all lines.
        bound: The indexes of single packages.
        path: The dependency file, for what is known without a line.
    """
    found: dict[str, Decision] = {}
    for declared in requirements:
        for url in (declared.url, declared.index, declared.find_links):
            if url is not None and is_written(url):
                found.setdefault(_place(url), _decision(url, declared.origin, declared.name or _place(url)))
    wide = (*([options.index_url] if options.index_url else ()), *options.extra_index_urls, *options.find_links)
    for url in (*wide, *(index.url for index in bound)):
        if is_written(url):
            found.setdefault(_place(url), _decision(url, Origin(path) if path else None, "indexes"))
    return tuple(found.values())


def is_written(url: SecretUrl) -> bool:
    """Whether a URL holds a password or token that stands there as it is, rather than as ``${VARIABLES}``."""
    secret = url.password_or_token
    return secret is not None and not any(secret in text or text in secret for _, text in url.variables)


def _place(url: SecretUrl) -> str:
    return urlsplit(url.without_credentials()).netloc or url.without_credentials()


def _decision(url: SecretUrl, origin: Origin | None, subject: str) -> Decision:
    parts = urlsplit(url.reveal().removeprefix("git+"))
    git = "git+" if url.reveal().startswith("git+") else ""
    user = "" if parts.password is None else "${INDEX_USER}:"
    host = parts.netloc.rpartition("@")[2]
    return Decision(
        rule="credentials-in-file",
        kind=Kind.ADVICE,
        subject=subject,
        asked=str(url),
        chose="used, and shown nowhere",
        because="a password or token stands in a file that travels with the project: everybody who can read it has it",
        origin=origin,
        instead=f"{git}{parts.scheme}://{user}${{INDEX_TOKEN}}@{host}/..., with --secret id=INDEX_TOKEN,env=... or the variable set; "
        "or ~/.netrc, or a keyring",
    )
