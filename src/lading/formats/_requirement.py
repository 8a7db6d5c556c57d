"""One requirement, without pip's options: PEP 508, a URL, or a local path, read as pip reads it.

`packaging` is loaded only for what the fast path below does not cover: it takes as long to import as a large file takes to read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from lading.formats._paths import exists, installable, is_archive, path_of_file_url
from lading.formats._place import Place
from lading.model.names import canonical
from lading.model.patterns import pattern
from lading.model.records import replace
from lading.model.requirements import Declared, Via
from lading.model.secrets import SecretText

_NUMBER = r"[0-9]+(?:\.[0-9]+)*"
_SUFFIX = r"(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?"
_CLAUSE = (
    rf"(?:(?:==|!=)\s*{_NUMBER}(?:{_SUFFIX}(?:\+[a-z0-9]+(?:\.[a-z0-9]+)*)?|\.\*)"
    rf"|(?:>=|<=|<|>)\s*{_NUMBER}{_SUFFIX}"
    rf"|~=\s*[0-9]+(?:\.[0-9]+)+{_SUFFIX})"
)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
# The plain majority: a name, extras, and clauses whose spelling is beyond doubt.
_PLAIN = pattern(rf"({_NAME})[ \t]*(?:\[[ \t]*({_NAME}(?:[ \t]*,[ \t]*{_NAME})*)[ \t]*\])?[ \t]*({_CLAUSE}(?:[ \t]*,[ \t]*{_CLAUSE})*)?")
_HEAD = pattern(rf"({_NAME})[ \t]*(?:\[([^\]]*)\])?[ \t]*(.*)", re.DOTALL)
_DIRECT = pattern(rf"({_NAME})[ \t]*(?:\[[^\]]*\])?[ \t]*@")
_COMPARISON = pattern(
    r"(python_(?:full_)?version|os_name|sys_platform|platform_(?:machine|system|release|version|python_implementation)"
    r"|implementation_(?:name|version))[ \t]*(===|[<>=!~]=|[<>])[ \t]*(['\"])([A-Za-z0-9_.+-]*)\3"
)
_SHORT_GIT = pattern(r"([A-Za-z0-9_.-]+@[A-Za-z0-9.-]+):(?!//)([^\s;]+)")
_EGG = pattern(r"[#&]egg=([^&]*)")
_EGG_NAME = pattern(rf"({_NAME})(?:\[([^\]]*)\])?")
# Python converts no longer numbers, and nobody writes them.
_LONGEST_NUMBER = 1000
_HUGE = pattern(rf"[0-9]{{{_LONGEST_NUMBER}}}")
_WEB = ("http", "https", "ftp")
_VCS = ("git", "hg", "svn", "bzr")
_GIT_OVER = ("git+http", "git+https", "git+ssh", "git+git", "git+file")


def read_requirement(text: str, place: Place) -> Declared:
    """Read one requirement with its marker.

    Raises:
        LadingError: if pip would refuse it, or if it cannot mean what it says (``python>=3.8``).
    """
    if len(text) > _LONGEST_NUMBER and _HUGE.search(text):
        raise place.error("requirement-invalid", "A number on this line has more than a thousand digits.", instead="Correct the version.")
    plain = _PLAIN.fullmatch(text)
    if plain and not is_archive(text):
        return _plain(plain, place)
    if is_url(text):
        requirement, _, marker = text.partition("; ")
        return _from_url(requirement.strip(), _marker(marker, place), place)
    requirement, _, marker = text.partition(";")
    requirement = requirement.strip()
    if not requirement:
        raise place.error(
            "requirement-invalid", f"There is no requirement before the marker: {place.shown}", instead="Write NAME ; MARKER."
        )
    _refuse_short_git(requirement, place)
    if not _DIRECT.match(requirement) and _is_path(requirement, place):
        path, extras = split_extras(requirement)
        return _local(path, extras, _marker(marker, place), place)
    return read_pep508(text, place)


def read_editable(text: str, place: Place) -> Declared:
    """Read what follows ``-e``: a folder with a package, or a git URL.

    Raises:
        LadingError: if it is neither.
    """
    text = text.strip()
    _refuse_short_git(text, place)
    path, extras = split_extras(text)
    if path.lower().startswith("file:"):
        declared = _local(path_of_file_url(path, place), extras, None, place)
        return _edited(declared, place)
    if place.files.is_folder(path.rstrip("/")) or path.startswith((".", "/")):
        return _edited(_local(path, extras, None, place), place)
    if is_url(text) and text.lower().startswith(_VCS):
        return _from_url(text, None, place)
    if _DIRECT.match(text):
        return read_pep508(text, place)
    raise place.error(
        "editable-invalid",
        f"-e takes a folder with a package or a git URL, and this is neither: {place.masked(text)}",
        instead="Write -e ./folder, or the requirement without -e.",
    )


def _refuse_short_git(text: str, place: Place) -> None:
    """Git's short form of an address, which pip takes for a path.

    Raises:
        LadingError: if it is one.
    """
    found = _SHORT_GIT.match(text)
    if found:
        raise place.error(
            "url-invalid",
            f"This is not a URL: {place.masked(text)}",
            why="git's short form host:path is not a URL.",
            instead=f"Write: git+ssh://{found[1]}/{found[2]}",
        )


def _edited(declared: Declared, place: Place) -> Declared:
    if declared.path and is_archive(declared.path):
        raise place.error(
            "editable-invalid", f"{declared.path} is an archive, which cannot be installed with -e.", instead="Remove the -e."
        )
    return Declared(
        raw=declared.raw,
        origin=declared.origin,
        via=Via.PATH,
        path=declared.path,
        extras=declared.extras,
        name=declared.name,
        editable=True,
    )


def is_url(text: str) -> bool:
    """Whether pip takes a text for a URL: it begins with a scheme that pip installs from."""
    scheme, colon, _ = text.partition(":")
    scheme = scheme.lower()
    return bool(colon) and (scheme in (*_WEB, "file", *_VCS) or scheme.startswith(tuple(f"{vcs}+" for vcs in _VCS))) and "@" not in scheme


def split_extras(text: str) -> tuple[str, tuple[str, ...]]:
    """A path and the extras after it: ``./pkg[a,b]``."""
    found = re.fullmatch(r"(.+)\[([^\[\]]+)\]", text)
    return (found[1].strip(), _extras(found[2])) if found else (text, ())


def _extras(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(extra.strip() for extra in (text or "").split(",") if extra.strip()))


def _plain(found: re.Match[str], place: Place) -> Declared:
    name, extras, clauses = found.groups()
    specifier = re.sub(r"[ \t]+", "", clauses) if clauses else ""
    return _checked(
        Declared(raw=SecretText(place.raw), origin=place.origin, name=canonical(name), extras=_extras(extras), specifier=specifier), place
    )


def read_pep508(text: str, place: Place) -> Declared:
    """Read a PEP 508 requirement; a marker may follow the ``;`` of a URL without a space, as pip allows.

    Raises:
        LadingError: if it is no PEP 508 requirement.
    """
    requirement, _, written_marker = text.partition(";")
    requirement = requirement.strip()
    plain = _PLAIN.fullmatch(requirement)
    if plain:
        marker = _marker(written_marker, place)
        declared = _plain(plain, place)
        return replace(declared, marker=marker) if marker else declared
    _validate(requirement, place)
    marker = _marker(written_marker, place)
    head = _HEAD.match(requirement)
    assert head is not None  # it is valid, so it begins with a name
    name, extras, rest = canonical(head[1]), _extras(head[2]), head[3].strip()
    if rest.startswith("@"):
        return read_direct(name, extras, rest[1:].strip(), marker, place)
    clauses = [re.sub(r"\s+", "", clause) for clause in rest.strip("()").split(",")]
    specifier = ",".join(clause for clause in clauses if clause)
    return _checked(replace(_new(place), name=name, extras=extras, specifier=specifier, marker=marker), place)


def _validate(text: str, place: Place) -> None:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 -- see the module's docstring

    try:
        Requirement(text)
    except InvalidRequirement as error:
        from lading.formats._advice import advise  # noqa: PLC0415 -- its patterns take longer to compile than a file takes to read

        reason = f"It is no PEP 508 requirement: {str(error).splitlines()[0].lower()}."
        advice = advise(place.masked(_whole(text, place)), reason)
        raise place.error(
            "requirement-invalid", f"This is not a requirement: {place.shown}", why=advice.why, instead=advice.instead
        ) from error


def _whole(text: str, place: Place) -> str:
    """The text with what follows ``;``, when that is no marker (``flask;click``)."""
    after = place.raw.partition(";")[2].strip()
    return text if not after or _normal_marker(after) else place.raw


def _marker(text: str, place: Place) -> str | None:
    """A marker in its one spelling."""
    text = text.strip()
    if not text:
        return None
    found = _normal_marker(text)
    if found is not None:
        return found
    raise place.error(
        "marker-invalid",
        f"What follows the semicolon is not a marker: {place.shown}",
        why=None
        if re.fullmatch(_NAME, text)
        else "A marker compares a variable such as python_version or sys_platform with a quoted text.",
        instead=_two_lines(place) if re.fullmatch(_NAME, text) else 'Write, for example: ; python_version < "3.9"',
    )


def _two_lines(place: Place) -> str:
    first, _, second = place.shown.partition(";")
    return f"A line holds one requirement. Write 2 lines: {first.strip()} / {second.strip()}"


@lru_cache(maxsize=256)
def _normal_marker(text: str) -> str | None:
    """A marker as `packaging` writes it, None if it is none. Files repeat few markers often."""
    comparison = _COMPARISON.fullmatch(text)
    if comparison:
        return f'{comparison[1]} {comparison[2]} "{comparison[4]}"'
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415 -- see the module's docstring

    try:
        return str(Marker(text))
    except InvalidMarker:
        return None


def _new(place: Place) -> Declared:
    return Declared(raw=SecretText(place.raw), origin=place.origin)


def _checked(declared: Declared, place: Place) -> Declared:
    """Names that are valid and never work.

    Raises:
        LadingError: for ``python`` and Debian's ``pkg-resources==0.0.0``.
    """
    if declared.name == "python" and declared.via is Via.INDEX:
        raise place.error(
            "python-as-package",
            f"Python is not a package that pip can install: {place.shown}",
            instead="Name the version in .python-version, as requires-python in pyproject.toml, or as build.python_version in cog.yaml.",
        )
    if declared.name == "pkg-resources" and declared.specifier == "==0.0.0":
        raise place.error(
            "debian-freeze",
            "pkg-resources==0.0.0 does not exist: `pip freeze` of Debian and Ubuntu wrote it by mistake.",
            instead="Delete this line.",
        )
    return declared


def _is_path(text: str, place: Place) -> bool:
    """Whether pip takes a text for a local path: an archive, or a folder that is written with a slash or a leading dot."""
    path, _ = split_extras(text)
    if "/" in path or path.startswith("."):
        bare = path.rstrip("/")
        return path.startswith((".", "/")) or is_archive(path) or place.files.is_folder(bare) or exists(bare, place.files)
    return is_archive(path)


def _local(path: str, extras: tuple[str, ...], marker: str | None, place: Place) -> Declared:
    if place.constraint:
        raise _not_a_constraint("a local path", place)
    path = installable(path, place)
    name = _wheel_name(path, place) if path.endswith(".whl") else None
    return replace(_new(place), via=Via.PATH, path=path, extras=extras, marker=marker, name=name)


def _from_url(text: str, marker: str | None, place: Place) -> Declared:
    """A requirement that is a URL: its name is in ``#egg=``, or in a wheel's file name, or not known yet."""
    scheme = text.partition(":")[0].lower()
    if scheme == "file":
        path, extras = split_extras(text)
        return _local(path_of_file_url(path, place), extras, marker, place)
    name, extras = _egg(text, place)
    url_path = unquote(urlsplit(place.url(text).reveal()).path)
    if name is None and url_path.endswith(".whl"):
        name = _wheel_name(url_path, place)
    return read_direct(name, extras, text, marker, place)


def read_direct(name: str | None, extras: tuple[str, ...], target: str, marker: str | None, place: Place) -> Declared:
    """A requirement whose place is given: ``name @ target``.

    Raises:
        LadingError: if the target is no URL, git URL, ``file:`` URL or local path that can be installed.
    """
    scheme = target.partition(":")[0].lower()
    if scheme == "file" or not is_url(target):
        return _named_path(name, extras, target, marker, place)
    via = Via.VCS if scheme.partition("+")[0] in _VCS else Via.URL
    if via is Via.VCS:
        target = _git(target, place)
    elif not urlsplit(place.url(target).reveal()).netloc:
        raise place.error("url-invalid", f"{place.masked(target)} names no host.", instead="Write https://HOST/PATH.")
    if place.constraint and name is None:
        raise _not_a_constraint("a URL without a name", place)
    return replace(_new(place), via=via, name=name, extras=extras, url=place.url(target), marker=marker)


def _named_path(name: str | None, extras: tuple[str, ...], target: str, marker: str | None, place: Place) -> Declared:
    path = path_of_file_url(target, place) if target.lower().startswith("file:") else target
    if "@" in path and ":" in path:
        from lading.formats._advice import advise  # noqa: PLC0415 -- as in `_validate`

        advice = advise(place.masked(target), "It names no scheme.")
        raise place.error("url-invalid", f"This is not a URL: {place.masked(target)}", why=advice.why, instead=advice.instead)
    return replace(_new(place), via=Via.PATH, name=name, extras=extras, path=installable(path, place), marker=marker)


def _git(url: str, place: Place) -> str:
    """A git URL with its ``git+`` prefix.

    Raises:
        LadingError: for other version control systems, and for addresses that do not answer any more.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "git":
        url, scheme = f"git+{url}", "git+git"
    if scheme not in _GIT_OVER:
        raise place.error(
            "vcs-not-supported",
            f"Lading installs from git only, and this is {scheme.partition('+')[0]}: {place.masked(url)}",
            instead="Build a wheel from it and name the file, or use a git mirror of the repository.",
        )
    parts = urlsplit(place.url(url).reveal())
    if scheme == "git+git" and (parts.hostname or "").lower() in ("github.com", "gitlab.com"):
        raise place.error(
            "git-protocol-gone",
            f"{parts.hostname} does not answer the git:// protocol any more: {place.masked(url)}",
            instead=f"Write: {place.masked('git+https' + url[len('git+git') :])}",
        )
    if not parts.netloc and scheme != "git+file":
        raise place.error("url-invalid", f"{place.masked(url)} names no host.", instead="Write git+https://HOST/OWNER/REPOSITORY@REF.")
    return url


def _egg(url: str, place: Place) -> tuple[str | None, tuple[str, ...]]:
    found = _EGG.search(url)
    if not found:
        return None, ()
    egg = _EGG_NAME.fullmatch(unquote(found[1]))
    if egg is None:
        raise place.error(
            "egg-invalid",
            f'#egg= takes a package\'s name, and "{found[1]}" is none.',
            instead="Write NAME @ URL, with the version as a tag: git+https://HOST/OWNER/REPOSITORY@TAG.",
        )
    return canonical(egg[1]), _extras(egg[2])


def _wheel_name(path: str, place: Place) -> str:
    """The distribution's name in a wheel's file name: five to seven parts between hyphens (PEP 427; seven with a PEP 825 variant)."""
    filename = path.rpartition("/")[2]
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in (5, 6, 7) or not re.fullmatch(_NAME, parts[0]):
        raise place.error(
            "wheel-name-invalid",
            f"{filename} is not a wheel's file name.",
            why="A wheel is named NAME-VERSION-PYTHON-ABI-PLATFORM.whl, and installers read these parts.",
            instead="Give the file the name that it was built with.",
        )
    return canonical(parts[0])


def _not_a_constraint(what: str, place: Place) -> Exception:
    return place.error(
        "constraint-invalid",
        f"A constraint names a package and its versions, and this is {what}: {place.shown}",
        instead="Write it in a requirements file (-r) instead.",
    )
