"""Dependencies on conda packages: what the readers in ``formats/`` produce, and what a lock holds of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.records import dataclass, field, replace
from lading.model.secrets import MASK, Secret, SecretText, SecretUrl, redact_urls

# In a text a URL may be followed by anything; `channel::package` is what may follow it without a space or a quotation mark.
_TOKEN = pattern(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://[^\s]*?)/t/(?P<token>[^/\s:'\"(),;<>\[\]]+)")
_SECRET_NAME = pattern(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL", re.IGNORECASE)
_PLATFORMS = {
    ("x86_64", "linux"): "linux-64",
    ("aarch64", "linux"): "linux-aarch64",
    ("ppc64le", "linux"): "linux-ppc64le",
    ("x86_64", "apple"): "osx-64",
    ("aarch64", "apple"): "osx-arm64",
}


def redact_conda(text: str) -> str:
    """``text`` with the credentials of every URL masked: its user part, and conda's ``/t/TOKEN/``."""
    return _TOKEN.sub(_masked_token, redact_urls(text))


def _masked_token(found: re.Match[str]) -> str:
    token = found["token"]
    return found[0] if re.fullmatch(r"\$\{[A-Z0-9_]+\}|\*+", token) else f"{found['scheme']}/t/{MASK}"


class CondaText(SecretText):
    """A line of a conda file as written; prints with the credentials of its URLs masked."""

    __slots__ = ()

    def __str__(self) -> str:
        return redact_conda(self._value)


class ChannelUrl(SecretUrl):
    """A channel, by name or URL, or a package's URL. Its credentials are the user part and ``/t/TOKEN/`` in the path.

    ``origin`` is the line that names the channel, where that is known; two channels are the same one whoever names them.
    """

    __slots__ = ("origin",)

    def __init__(self, value: str, variables: tuple[tuple[str, str], ...] = (), origin: Origin | None = None) -> None:
        super().__init__(value, variables)
        self.origin = origin

    def named_by(self, origin: Origin | None) -> ChannelUrl:
        """The same channel, as the line of ``origin`` names it."""
        return ChannelUrl(self._value, self.variables, origin or self.origin)

    def __str__(self) -> str:
        return redact_conda(self._unexpanded())

    @property
    def has_credentials(self) -> bool:
        """See `SecretUrl`; a token counts too."""
        return super().has_credentials or self.token is not None

    @property
    def token(self) -> str | None:
        """The token in the path, None without one."""
        found = _TOKEN.search(self._value)
        return found["token"] if found else None

    @property
    def password_or_token(self) -> str | None:
        """See `SecretUrl`; the token where there is one."""
        return self.token or super().password_or_token

    def without_credentials(self) -> str:
        """The URL without user part and token: what a lock names."""
        return _TOKEN.sub(lambda found: found["scheme"], super().without_credentials())


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSpec:
    """One conda package as one line asks for it (conda's match specification).

    ``version`` and ``build`` are conda's texts (``>=1.2,<2``, ``1.26.*``, ``==1.26.4``; ``py310_0``, ``*cuda*``), empty for any. ``channel``
    binds this package to a channel. ``url`` is set for a package named by its file, with ``md5`` or ``sha256``. ``platform`` (``linux-64``)
    says that the line holds there only. ``frozen``: the line comes from a list of what was installed, not from a person.
    """

    raw: CondaText
    origin: Origin
    name: str
    version: str = ""
    build: str = ""
    build_number: str = ""
    channel: ChannelUrl | None = None
    subdir: str = ""
    url: ChannelUrl | None = None
    md5: str = ""
    sha256: str = ""
    platform: str = ""
    frozen: bool = False

    @property
    def is_pinned(self) -> bool:
        """Whether one version is fixed."""
        return self.url is not None or (self.version.startswith("==") and not re.search(r"[*,|]", self.version))

    @property
    def shown(self) -> str:
        """The specification in conda's canonical form, as it is shown: ``conda-forge::numpy ==1.26.4 py310_0``."""
        if self.url is not None:
            return str(self.url)
        place = f"{self.channel}{'/' + self.subdir if self.subdir else ''}::" if self.channel else ""
        return place + self.match

    @property
    def match(self) -> str:
        """The specification without its channel, as the solver reads it."""
        words = " ".join(part for part in (self.name, self.version or ("*" if self.build else ""), self.build) if part)
        options = [("build_number", self.build_number), ("md5", self.md5), ("sha256", self.sha256), ("subdir", self.subdir)]
        extra = ",".join(f'{key}="{value}"' for key, value in options if value and not (key == "subdir" and self.channel is None))
        return f"{words}[{extra}]" if extra else words

    def text_of_facts(self) -> str:
        """The specification without credentials, as a plan's fingerprint holds it."""
        place = (self.url or self.channel or ChannelUrl("")).without_credentials()
        return " ".join(part for part in (place, self.subdir, self.match) if part)

    def without_build(self) -> MatchSpec:
        """The same package without its build, for another platform than the one it was frozen on."""
        return replace(self, build="", build_number="", md5="", sha256="")

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials masked; keys without a value are left out."""
        record = {"name": self.name, "spec": self.shown, "platform": self.platform, "origin": str(self.origin)}
        return {key: value for key, value in record.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaDependencies:
    """The conda part of a declaration.

    ``channels`` are names and URLs in their order, the first one strongest; empty when the file says nothing. ``alone``: no channel of the
    machine's configuration is added (``nodefaults``). ``priority`` is ``strict``, ``flexible`` or ``disabled``. ``platform`` is the one
    that a freeze was made on. ``variables`` are set in the activated environment. ``explicit``: the lines are all there is, nothing is solved.
    """

    specs: tuple[MatchSpec, ...] = ()
    channels: tuple[ChannelUrl, ...] = ()
    alone: bool = False
    priority: str | None = None
    platform: str | None = None
    variables: tuple[tuple[str, Secret], ...] = ()
    explicit: bool = False

    def secrets(self) -> tuple[Secret, ...]:
        """Every credential, for a `Redactor`."""
        urls = (*self.channels, *(spec.channel for spec in self.specs), *(spec.url for spec in self.specs))
        return tuple(url for url in urls if url is not None and url.has_credentials)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials and the values of variables masked."""
        return {
            "channels": [str(channel) for channel in self.channels],
            "priority": self.priority,
            "explicit": self.explicit,
            "specs": [spec.as_json() for spec in self.specs],
            "variables": [name for name, _ in self.variables],
        }


def conda_platform(platform: str) -> str | None:
    """Conda's name for a target's platform (``x86_64-manylinux_2_36`` is ``linux-64``); None when it has none."""
    machine, _, system = platform.partition("-")
    family = "linux" if system.startswith(("manylinux", "musllinux", "unknown-linux")) else system.partition("-")[0]
    return _PLATFORMS.get((machine, family))


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPackage:
    """One conda package of a lock: what is downloaded, checked and linked.

    ``url`` holds no credentials. ``noarch`` is ``python``, ``generic`` or empty. ``provides`` are the names under which the package index knows
    the Python packages in it, each with its version; ``brought_by`` is the user's line that led to it, as its origin.
    """

    name: str
    version: str
    build: str
    build_number: int
    subdir: str
    url: str
    channel: str = ""
    sha256: str = ""
    md5: str = ""
    size: int = 0
    noarch: str = ""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    site_packages: str = ""
    provides: tuple[tuple[str, str], ...] = ()

    @property
    def file_name(self) -> str:
        """The archive's name."""
        return self.url.rpartition("/")[2].partition("#")[0]

    @property
    def stem(self) -> str:
        """Name, version and build, as the archive's name has them: what the package's folder in the cache and its record in a prefix are called."""
        return self.file_name.removesuffix(".conda").removesuffix(".tar.bz2")

    def as_table(self) -> dict[str, Any]:
        """The package as a table of the lock; keys without a value are left out."""
        record: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build-number": self.build_number,
            "subdir": self.subdir,
            "noarch": self.noarch,
            "channel": self.channel,
            "url": self.url,
            "sha256": self.sha256,
            "md5": self.md5,
            "size": self.size,
            "depends": list(self.depends),
            "constrains": list(self.constrains),
            "site-packages": self.site_packages,
            "provides": dict(self.provides),
        }
        return {key: value for key, value in record.items() if value not in ("", [], {}) and (key, value) != ("size", 0)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> CondaPackage:
        """The inverse of `as_table`.

        Raises:
            KeyError, TypeError, ValueError: if the table is not as Lading writes it.
        """
        return cls(
            name=str(table["name"]),
            version=str(table["version"]),
            build=str(table["build"]),
            build_number=int(table.get("build-number", 0)),
            subdir=str(table["subdir"]),
            url=str(table["url"]),
            channel=str(table.get("channel", "")),
            sha256=str(table.get("sha256", "")),
            md5=str(table.get("md5", "")),
            size=int(table.get("size", 0)),
            noarch=str(table.get("noarch", "")),
            depends=tuple(map(str, table.get("depends", ()))),
            constrains=tuple(map(str, table.get("constrains", ()))),
            site_packages=str(table.get("site-packages", "")),
            provides=tuple(sorted((str(name), str(version)) for name, version in dict(table.get("provides", {})).items())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaLock:
    """The conda part of a lock: every package of the prefix, for one platform, from these channels, under these virtual packages.

    ``shared`` are the Python packages, with their versions, that pip's requirements need and conda provides.
    """

    platform: str
    python: str
    channels: tuple[str, ...] = ()
    virtual: tuple[str, ...] = ()
    packages: tuple[CondaPackage, ...] = field(default=())
    shared: tuple[tuple[str, str], ...] = ()

    @property
    def provides(self) -> dict[str, str]:
        """Version by name of every Python package that conda installs, as the package index knows it."""
        return {name: version for package in self.packages for name, version in package.provides}

    def as_table(self) -> dict[str, Any]:
        """The conda part as TOML data, in one order."""
        packages = sorted(self.packages, key=lambda package: package.name)
        return {
            "platform": self.platform,
            "python": self.python,
            "channels": list(self.channels),
            "virtual-packages": list(self.virtual),
            **({"shared": dict(self.shared)} if self.shared else {}),
            "packages": [package.as_table() for package in packages],
        }

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> CondaLock:
        """The inverse of `as_table`.

        Raises:
            KeyError, TypeError, ValueError: if the table is not as Lading writes it.
        """
        return cls(
            platform=str(table["platform"]),
            python=str(table["python"]),
            channels=tuple(map(str, table.get("channels", ()))),
            virtual=tuple(map(str, table.get("virtual-packages", ()))),
            shared=tuple((str(name), str(version)) for name, version in dict(table.get("shared", {})).items()),
            packages=tuple(CondaPackage.from_table(package) for package in table.get("packages", ())),
        )

    def explicit(self, root: str) -> str:
        """The packages as conda's ``@EXPLICIT`` list: ``conda create --file`` installs the same files. ``root`` is the project's folder.

        Conda compares MD5 hashes; where a channel tells only the SHA-256, that is written.
        """
        lines = [f"{_absolute(package.url, root)}#{package.md5 or f'sha256:{package.sha256}'}" for package in self.packages]
        return "\n".join([f"# platform: {self.platform}", "@EXPLICIT", *lines, ""])


def _absolute(url: str, root: str) -> str:
    return url if "://" in url else f"file://{quote(root.rstrip('/'))}/{url.removeprefix('./')}"


UNVERIFIED = "no"
"""No certificate is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How this machine reaches channels, beyond what the usual variables say.

    ``verify`` is `UNVERIFIED`, a path to certificates that are trusted in place of the machine's own, or empty. ``proxies`` are by scheme: ``http``,
    ``https`` or ``all``. ``patience`` is for how many seconds nothing may be received. ``path`` is the file that says so.
    """

    verify: str = ""
    proxies: tuple[tuple[str, SecretUrl], ...] = ()
    patience: float = 60.0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPlan:
    """What conda will be asked for one target.

    ``specs`` are those that hold on ``platform`` (conda's name); ``channels`` are URLs, credentials included, the first one strongest.
    ``asked`` are the project's own channels and specifications as they were written, without credentials: what does not depend on a
    machine's configuration. ``priority`` is ``strict``, ``flexible``
    or ``disabled``. ``virtual`` are the target's virtual packages as ``__cuda=12.4=0``. ``python`` is what the project asks of Python (a
    conda version expression) where the specs do not name it, ``python_origin`` who asks. ``mirrors`` are places that answer for a channel
    on this machine, ``network`` is how it reaches them. ``explicit``: the specs are all there is.
    """

    platform: str
    specs: tuple[MatchSpec, ...]
    channels: tuple[ChannelUrl, ...]
    asked: tuple[str, ...] = ()
    priority: str = "flexible"
    virtual: tuple[str, ...] = ()
    python: str = ""
    python_origin: Origin | None = None
    mirrors: tuple[tuple[str, ChannelUrl], ...] = ()
    network: Network = field(default_factory=Network)
    variables: tuple[tuple[str, Secret], ...] = ()
    explicit: bool = False
    frozen_on: str | None = None

    @property
    def names_python(self) -> bool:
        """Whether the list names the Python itself."""
        return any(spec.name == "python" for spec in self.specs)

    def facts(self) -> dict[str, Any]:
        """What the solution depends on, without what belongs to this machine alone: part of a plan's fingerprint."""
        return {
            "platform": self.platform,
            "asked": list(self.asked),
            "priority": self.priority,
            "virtual": list(self.virtual),
            "python": self.python,
            "explicit": self.explicit,
        }

    def secrets(self) -> tuple[Secret, ...]:
        """Every credential, and the values of variables whose names say that they are secret, for a `Redactor`."""
        urls = (
            *self.channels,
            *(url for _, url in self.mirrors),
            *(spec.channel for spec in self.specs),
            *(spec.url for spec in self.specs),
        )
        hidden = (value for name, value in self.variables if _SECRET_NAME.search(name))
        proxies = (url for _, url in self.network.proxies if url.has_credentials)
        return (*(url for url in urls if url is not None and url.has_credentials), *proxies, *hidden)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials and the values of variables masked; keys without a value are left out."""
        record: dict[str, Any] = {
            "platform": self.platform,
            "specs": [spec.as_json() for spec in self.specs],
            "channels": [str(channel) for channel in self.channels],
            "priority": self.priority,
            "virtual_packages": list(self.virtual),
            "python": self.python,
            "variables": [name for name, _ in self.variables],
            "explicit": self.explicit,
        }
        return {key: value for key, value in record.items() if value}
