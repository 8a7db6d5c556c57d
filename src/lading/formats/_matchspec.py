"""One conda requirement as one line: conda's match specification, in every spelling that conda itself reads.

``[channel[/subdir]::]name[=version[=build]]``, ``name >=1.2,<2 py*``, ``name[version='>=1', build=*cuda*]``, a package's URL. What conda would
misread in silence (``nump y=1`` is version ``y`` of ``nump`` to it) is refused. A differential test holds this reader against py-rattler's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._place import NO_VARIABLES, Place, expand
from lading.model.conda import ChannelUrl, CondaText, MatchSpec, redact_conda
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

SUBDIRS = frozenset(
    {
        "noarch", "linux-32", "linux-64", "linux-aarch64", "linux-armv6l", "linux-armv7l", "linux-ppc64le", "linux-s390x", "linux-riscv64",
        "osx-64", "osx-arm64", "win-32", "win-64", "win-arm64",
    }
)  # fmt: skip
ARCHIVES = (".conda", ".tar.bz2")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_BRACKETS = re.compile(r"^(?P<head>[^\[\]]*)\[(?P<inside>[^\[\]]*)\]$")
_PAIR = re.compile(r"""\s*(?P<key>[A-Za-z_][\w-]*)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^,"'\s]+))\s*(?:,|$)""")
_KEYS = ("version", "build", "build_number", "channel", "subdir", "md5", "sha256", "url")
_SINGLE = re.compile(r"=(?![=])(?P<version>[^=<>!~,|\s]+)?(?:=(?P<build>\S*))?")
_VERSION_BUILD = re.compile(r"(?P<version>(?:==)?[^=<>!~,|\s]+)=(?P<build>[^=\s]\S*)")
_ATOM = re.compile(r"(?P<op>===?|!==?|~=|[<>]=?|=)?(?P<version>[A-Za-z0-9_.!+*-]+)")
_BUILD = re.compile(r"[A-Za-z0-9_.+*^$()|-]+")
_HASH = {"md5": 32, "sha256": 64}
_URL = re.compile(r"(?:https?|file|s3|gcs|oci)://", re.IGNORECASE)


def read_spec(
    text: str,
    origin: Origin,
    files: ProjectFiles,
    environ: Mapping[str, str] = NO_VARIABLES,
    *,
    raw: str | None = None,
    frozen: bool = False,
) -> MatchSpec:
    """Read one requirement, without comment.

    Args:
        text: The requirement.
        origin: Where it stands.
        files: The project.
        environ: The variables for ``${NAME}`` in channels.
        raw: The line as written, when that differs.
        frozen: Whether it comes from a list of what was installed.

    Raises:
        LadingError: with the line's problem.
    """
    expanded, place = expand(text.strip(), Place(raw or text, origin, files), environ)
    reading = _Reading(expanded, CondaText(raw or text), origin, place.variables, frozen=frozen)
    return reading.url() if _is_package_url(expanded) else reading.spec()


def _is_package_url(text: str) -> bool:
    return bool(_URL.match(text)) and text.partition("#")[0].endswith(ARCHIVES)


class _Reading:
    """One requirement while it is read."""

    def __init__(self, text: str, raw: CondaText, origin: Origin, variables: tuple[tuple[str, str], ...], *, frozen: bool) -> None:
        self.text, self.raw, self.origin, self.variables, self.frozen = text, raw, origin, variables, frozen

    def spec(self) -> MatchSpec:
        """A requirement by name."""
        head, keys = self._brackets(self.text)
        channel, _, rest = head.rpartition("::")
        subdir = keys.get("subdir", "")
        channel = keys.get("channel", channel).strip().strip(":")
        if not subdir and channel.rpartition("/")[2] in SUBDIRS:
            channel, _, subdir = channel.rpartition("/")
        name, version, build = self._words(rest.strip())
        return MatchSpec(
            raw=self.raw,
            origin=self.origin,
            name=name.lower(),
            version=self._version(keys.get("version", version)),
            build=self._build(keys.get("build", build)),
            build_number=keys.get("build_number", ""),
            channel=ChannelUrl(channel, self.variables) if channel else None,
            subdir=subdir,
            url=ChannelUrl(keys["url"], self.variables) if "url" in keys else None,
            md5=self._hash("md5", keys.get("md5", "")),
            sha256=self._hash("sha256", keys.get("sha256", "")),
            frozen=self.frozen,
        )

    def url(self) -> MatchSpec:
        """A requirement by its file: ``URL#md5``, ``URL#sha256:hex``."""
        place, _, digest = self.text.partition("#")
        folder, _, file = place.rpartition("/")
        parts = _without_suffix(file).rsplit("-", 2)
        if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
            raise self._error(f"{redact_conda(file)} is not a conda package's file name.", "It is NAME-VERSION-BUILD.conda, or .tar.bz2.")
        kind, value = _digest(digest)
        if digest and not kind:
            raise self._error("After # stands neither an MD5 nor a SHA-256.", "Write #, then 32 or 64 hexadecimal digits.")
        return MatchSpec(
            raw=self.raw,
            origin=self.origin,
            name=parts[0].lower(),
            version=f"=={parts[1]}",
            build=parts[2],
            subdir=folder.rpartition("/")[2],
            url=ChannelUrl(place, self.variables),
            md5=value if kind == "md5" else "",
            sha256=value if kind == "sha256" else "",
            frozen=self.frozen,
        )

    def _brackets(self, text: str) -> tuple[str, dict[str, str]]:
        if "[" not in text:
            return text, {}
        found = _BRACKETS.match(text)
        if not found:
            raise self._error("Its brackets are not closed at the end.", "Write NAME[version='>=1.2', build='py*'].")
        keys: dict[str, str] = {}
        at = 0
        while at < len(found["inside"].rstrip()):
            pair = _PAIR.match(found["inside"], at)
            if not pair or pair["key"] not in _KEYS:
                raise self._bad_brackets(found["head"].strip(), found["inside"].strip(), pair["key"] if pair else None)
            keys[pair["key"]] = next(value for value in (pair["double"], pair["single"], pair["bare"]) if value is not None)
            at = pair.end()
        return found["head"], keys

    def _bad_brackets(self, head: str, inside: str, key: str | None) -> LadingError:
        if key is None and re.fullmatch(r"[\w.,\s-]+", inside):
            why = f"[{inside}] are extras, which pip knows and conda does not."
            return self._error(why, f"Write {head} here, and {head}[{inside}] among the pip requirements if they are needed.")
        why = f"{key} is not a key that is read here." if key else "Between the brackets stand key=value pairs."
        return self._error(why, f"Known keys: {', '.join(_KEYS)}.")

    def _words(self, text: str) -> tuple[str, str, str]:
        """Name, version and build as they are written."""
        found = _NAME.match(text)
        if not found:
            raise self._error(*_advice(text))
        name, rest = found[0], text[found.end() :]
        if not rest.strip():
            return name, "", ""
        if rest[0] not in " \t=<>!~":
            raise self._error(*_advice(text))
        version, build = self._after_name(name, re.sub(r"\s*([,|])\s*", r"\1", re.sub(r"([<>=!~]=?)\s+", r"\1", rest.strip())))
        return name, version, build

    def _after_name(self, name: str, rest: str) -> tuple[str, str]:
        words = rest.split()
        if words[0].startswith("@"):
            raise self._error(*_advice(self.text))
        if len(words) > 2:
            raise self._error("More follows than a version and a build.", f"Write one package a line, as {name} 1.2 or {name}=1.2=BUILD.")
        single = _SINGLE.fullmatch(words[0])
        if words[0] in ("=", "=="):
            raise self._error("No version follows its =.", f"Write {name} for any version, or {name}=1.2.")
        if single and single["version"] and len(words) == 2:
            return f"=={single['version']}", words[1]  # with a build, = is exact
        if single and single["build"]:
            return f"=={single['version']}" if single["version"] not in (None, "*") else "*", single["build"]
        both = _VERSION_BUILD.fullmatch(words[0])
        if both and not single:
            words = [both["version"], both["build"], *words[1:]]
        if len(words) > 2:
            raise self._error("It names two builds.", f"Write {name}=VERSION=BUILD.")
        return words[0].rstrip("=") if single else words[0], words[1] if len(words) > 1 else ""

    def _version(self, text: str) -> str:
        """Conda's version expression with every atom's meaning written out: ``=1.2`` is ``1.2.*``, ``1.2`` is ``==1.2``."""
        text = re.sub(r"\s+", "", text)
        if text in ("", "*", "=*", "==*"):
            return "*" if text else ""
        return "".join(part if part in ",|()" else self._atom(part) for part in re.split(r"([,|()])", text) if part)

    def _atom(self, text: str) -> str:
        found = _ATOM.fullmatch(text)
        version = found["version"] if found else ""
        if not found or not re.match(r"\d|\*", version):
            raise self._error(
                f'"{redact_conda(text)}" is not a version.', "Write one package a line, as NAME, NAME=1.2, NAME==1.2.3 or NAME>=1.2,<2."
            )
        operator = found["op"] or "=="
        if operator in ("===", "!=="):
            raise self._error(f"{operator} is not an operator of conda's.", f"Write =={version}.")
        if version.endswith("*") and version != "*":
            version = version.rstrip("*").rstrip(".") + ".*"
        if operator == "=" or (operator == "==" and version.endswith("*")):
            return version if version.endswith("*") else f"{version}.*"
        if version.endswith(".*") and operator in ("<", "<=", ">", ">=", "~="):
            version = version.removesuffix(".*")
        return f"{operator}{version}"

    def _build(self, text: str) -> str:
        if text and not _BUILD.fullmatch(text):
            raise self._error(
                f'"{redact_conda(text)}" is not a build.', "A build is written as NAME=1.2=py310_0; * stands for any characters."
            )
        return text

    def _hash(self, kind: str, text: str) -> str:
        if text and not re.fullmatch(rf"[0-9a-fA-F]{{{_HASH[kind]}}}", text):
            raise self._error(f"{kind} must be {_HASH[kind]} hexadecimal digits.", f"Take the value from the channel: {kind}=...")
        return text.lower()

    def _error(self, why: str, instead: str) -> LadingError:
        what = f"This is not a conda requirement: {self.raw}"
        return LadingError(Problem(rule="conda-spec-invalid", what=what, origin=self.origin, why=why, instead=instead))


def _digest(text: str) -> tuple[str, str]:
    value = text.lower().removeprefix("sha256:").removeprefix("md5:")
    if not re.fullmatch(r"[0-9a-f]*", value):
        return "", ""
    return next(((kind, value) for kind, size in _HASH.items() if len(value) == size), ("", ""))


def _without_suffix(file: str) -> str:
    return next((file.removesuffix(suffix) for suffix in ARCHIVES if file.endswith(suffix)), file)


def _advice(text: str) -> tuple[str, str]:
    """Why a text is no requirement, and what its author most likely meant."""
    shown = redact_conda(text)
    if re.match(r"-\s", text):
        return "It begins with a hyphen, as a list of a YAML file does.", f"Write: {shown.lstrip('- ')}"
    if text.startswith("-"):
        return (
            "A list of conda packages has no options.",
            "Write a channel before its package, as conda-forge::numpy; options of pip belong into requirements.txt.",
        )
    if re.match(r"['\"]", text):
        return "It is in quotes.", f"Write: {shown.strip(chr(34) + chr(39))}"
    if "@" in text or re.match(r"(git\+|https?:)", text):
        return "It names a place, and conda installs packages of channels.", "Write it among the pip requirements."
    if re.search(r"[^\x20-\x7e]", text):
        return "It holds a character that no package's name has; it often comes from copying a web page.", "Type the line anew."
    return "A package's name consists of letters, digits, and - _ .", "Write NAME, NAME=1.2, NAME==1.2.3=BUILD or CHANNEL::NAME."
