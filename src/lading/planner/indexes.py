"""Package indexes that the machine or the project configures outside of the requirements."""

from __future__ import annotations

from collections.abc import Mapping

from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles, content_hash
from lading.model.origin import Origin
from lading.model.plan import Role, Source
from lading.model.problems import LadingError, Problem
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl

PIP_CONF = "pip.conf"
_FORMAT = "pip's configuration"


def environment_options(environ: Mapping[str, str]) -> IndexOptions:
    """The indexes of ``PIP_*`` and ``UV_*`` variables: they say where this machine downloads, and stay out of the lock's fingerprint.

    uv's variables win over pip's, as Lading installs with uv.
    """
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or environ.get("PIP_INDEX_URL")
    extra = [*_words(environ, "UV_INDEX"), *_words(environ, "UV_EXTRA_INDEX_URL"), *_words(environ, "PIP_EXTRA_INDEX_URL")]
    links = [*_words(environ, "UV_FIND_LINKS"), *_words(environ, "PIP_FIND_LINKS")]
    return IndexOptions(
        index_url=SecretUrl(_unnamed(index)) if index else None,
        extra_index_urls=tuple(SecretUrl(_unnamed(url)) for url in extra),
        find_links=tuple(SecretUrl(url) for url in links),
        no_index=environ.get("PIP_NO_INDEX", environ.get("UV_NO_INDEX", "")).lower() in ("1", "true", "yes", "on"),
    )


def environment_places(environ: Mapping[str, str]) -> tuple[tuple[str, SecretUrl], ...]:
    """Every index and page of links that this machine's variables name, with the variable."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    others = ("UV_FIND_LINKS", "PIP_FIND_LINKS", "LADING_TORCH_INDEX")
    return tuple((name, SecretUrl(_unnamed(word))) for name in (*names, *others) for word in _words(environ, name))


def _words(environ: Mapping[str, str], name: str) -> list[str]:
    return environ.get(name, "").replace(",", " ").split()


def _unnamed(url: str) -> str:
    """Uv writes a named index as ``name=url``."""
    name, equals, rest = url.partition("=")
    return rest if equals and "/" not in name else url


def pip_conf_options(files: ProjectFiles, folder: str = "") -> tuple[IndexOptions, tuple[Source, ...], tuple[Decision, ...]]:
    """``[global]`` and ``[install]`` of a pip.conf beside the requirements: Cortex's recipe for private indexes.

    Returns:
        The options, the file if there is one, and what was decided about it.

    Raises:
        LadingError: if the file cannot be read as an INI file.
    """
    path = f"{folder}/{PIP_CONF}" if folder else PIP_CONF
    content = files.read(path)
    if content is None:
        return IndexOptions(), (), ()
    import configparser  # noqa: PLC0415 -- few projects have a pip.conf

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(content.decode("utf-8-sig", "replace"))
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        raise LadingError(
            Problem(
                rule="pip-conf-invalid",
                what=f"{path} cannot be read as pip's configuration.",
                origin=Origin(path, line),
                why=f"It is an INI file: sections in brackets, then name = value. ({type(error).__name__})",
                instead="Begin with [global], then extra-index-url = https://...",
            )
        ) from error
    options = IndexOptions()
    for section in ("global", "install"):
        if parser.has_section(section):
            options = options.merged(_section_options(dict(parser.items(section))))
    if options == IndexOptions():
        return options, (Source(path=path, role=Role.IGNORED, format=_FORMAT, because="it configures no index"),), ()
    used = Source(path=path, role=Role.USED, format=_FORMAT, because="it configures the indexes", sha256=content_hash(content))
    return options, (used,), (_pip_conf_decision(path, options),)


def _section_options(section: Mapping[str, str]) -> IndexOptions:
    def urls(key: str) -> tuple[SecretUrl, ...]:
        text = section.get(key, section.get(key.replace("-", "_"), ""))
        return tuple(SecretUrl(url) for url in text.split())

    index = urls("index-url")
    return IndexOptions(
        index_url=index[0] if index else None,
        extra_index_urls=urls("extra-index-url"),
        find_links=urls("find-links"),
        no_index=section.get("no-index", "").lower() in ("1", "true", "yes", "on"),
        trusted_hosts=tuple(section.get("trusted-host", "").split()),
    )


def _pip_conf_decision(path: str, options: IndexOptions) -> Decision:
    named = [*([options.index_url] if options.index_url else []), *options.extra_index_urls, *options.find_links]
    return Decision(
        rule="pip-conf-used",
        kind=Kind.KEPT,
        subject="indexes",
        asked=path,
        chose=", ".join(str(url) for url in named) or "no index",
        because="a pip.conf beside the requirements configures their indexes",
        origin=Origin(path),
    )
