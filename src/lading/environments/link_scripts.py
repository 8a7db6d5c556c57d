"""Scripts that conda packages bring for the moment when they are linked: ``bin/.NAME-post-link.sh``.

They are run as conda runs them (``conda.core.link.run_script``): after every package is linked and before pip's are added, dependencies first, by
bash, with ``PREFIX``, ``PKG_NAME``, ``PKG_VERSION`` and ``PKG_BUILDNUM``, and the prefix's programs first on ``PATH``; what they leave in
``.messages.txt`` is told; one that fails ends the installation. Unlike conda, nothing runs that the user has not allowed: the prefix is finished
without it then, and built once more when it is allowed later. Scripts for before linking, which conda deprecates, are never run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from lading.environments.activation import outside
from lading.environments.scripts import Policy, must_succeed, remembered, secrets_of
from lading.model.conda import CondaLock, CondaPackage
from lading.model.files import content_hash
from lading.model.origin import Origin
from lading.model.records import dataclass
from lading.model.scripts import Script, When
from lading.model.secrets import Redactor, redact_urls

_SUFFIX = "-post-link.sh"
_RAN = os.path.join("conda-meta", "link-scripts-run")
_MESSAGES = ".messages.txt"

REMEMBERED = Policy(remembered, lambda _line: None)
"""Runs what was allowed before, and says nothing."""


@dataclass(frozen=True, slots=True)
class LinkScript:
    """A script in a prefix, and the package that brings it."""

    package: CondaPackage
    script: Script
    path: str


def find_scripts(place: Path, final: Path, conda: CondaLock, lock_path: str) -> tuple[LinkScript, ...]:
    """The scripts that have not run in the prefix which lies in ``place`` and will be ``final``, those of dependencies first."""
    try:
        names = {name for name in os.listdir(place / "bin") if name.endswith(_SUFFIX)}
    except OSError:
        return ()
    names -= _ran(place)
    if not names:
        return ()
    brought = {f".{package.name}{_SUFFIX}": package for package in _dependencies_first(conda.packages)}
    return tuple(_read(place, final, package, lock_path) for name, package in brought.items() if name in names)


def wants_scripts(place: Path, conda: CondaLock, lock_path: str, policy: Policy | None) -> bool:
    """Whether a finished prefix lacks what a script does that is allowed by now."""
    return any((policy or REMEMBERED).allows(one.script) for one in find_scripts(place, place, conda, lock_path))


def run_scripts(place: Path, final: Path, conda: CondaLock, lock_path: str, policy: Policy | None) -> None:
    """Run the scripts of a prefix that lies in ``place`` and is seen as ``final``, as far as the policy allows it.

    Raises:
        LadingError: if one fails.
    """
    policy = policy or REMEMBERED
    for one in find_scripts(place, final, conda, lock_path):
        if policy.allows(one.script):
            _run(one, place, final, policy)
        else:
            policy.say(
                f"{one.script.path} was not run. conda would run it, and the package may not work without. "
                "`lading install --allow-scripts` runs it."
            )


def _run(one: LinkScript, place: Path, final: Path, policy: Policy) -> None:
    _own_copies(place, one.package)
    environ = _environ(one.package, final)
    policy.say(f"Running {one.script.path}")
    must_succeed(
        one.script,
        (["bash", str(final / one.path)], final / "bin", environ),
        Redactor(secrets_of(environ)),
        lambda line: policy.say(f"  {line}"),
        instead=f"Use another build or version of {one.package.name}, or install without --allow-scripts.",
    )
    for line in _messages(place):
        policy.say(f"  {line}")
    with open(place / _RAN, "a", encoding="utf-8") as stream:
        stream.write(f"{os.path.basename(one.path)}\n")


def _environ(package: CondaPackage, final: Path) -> dict[str, str]:
    kept = outside(os.environ)
    return {
        **kept,
        "PREFIX": str(final),
        "CONDA_PREFIX": str(final),
        "PKG_NAME": package.name,
        "PKG_VERSION": package.version,
        "PKG_BUILDNUM": str(package.build_number),
        "PATH": os.pathsep.join([str(final / "bin"), kept.get("PATH", os.defpath)]),
    }


def _own_copies(place: Path, package: CondaPackage) -> None:
    """Let the package's files be the prefix's own: a script may change them, and as hard links they are the cache's and other prefixes' too."""
    import json  # noqa: PLC0415 -- few packages have a script

    record = json.loads((place / "conda-meta" / f"{package.stem}.json").read_bytes())
    for path in (place / name for name in record.get("files", ())):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
            aside = path.with_name(f"{path.name}.own")
            shutil.copy2(path, aside)
            aside.replace(path)


def _messages(place: Path) -> Iterator[str]:
    """What scripts left to be shown to the user; conda shows it once, and removes it."""
    path = place / _MESSAGES
    if path.is_file():
        yield from path.read_text("utf-8", "replace").splitlines()
        path.unlink()


def _ran(place: Path) -> set[str]:
    try:
        return set((place / _RAN).read_text("utf-8").split("\n"))
    except OSError:
        return set()


def _read(place: Path, final: Path, package: CondaPackage, lock_path: str) -> LinkScript:
    """The script of a package. Its content is the same one in every prefix, so that a yes to it holds for all of them."""
    path = f"bin/.{package.name}{_SUFFIX}"
    content = (place / path).read_bytes().replace(str(final).encode(), b"$PREFIX")
    lines = (line.strip() for line in content.decode("utf-8", "replace").splitlines())
    script = Script(
        path=f"{path} of {package.name} {package.version}",
        origin=Origin(lock_path),
        sha256=content_hash(content),
        commands=tuple(redact_urls(line) for line in lines if line and not line.startswith("#")),
        when=When.LINKED,
        harmless=False,
        because="a conda package brings it, and it may do anything",
    )
    return LinkScript(package, script, path)


def _dependencies_first(packages: Iterable[CondaPackage]) -> Iterator[CondaPackage]:
    """Every package after those that it depends on, as far as they do not depend on one another."""
    waiting = {package.name: package for package in packages}

    def visit(name: str) -> Iterator[CondaPackage]:
        package = waiting.pop(name, None)
        if package is not None:
            for needed in package.depends:
                yield from visit(needed.split(" ", 1)[0])
            yield package

    for name in sorted(waiting):
        yield from visit(name)
