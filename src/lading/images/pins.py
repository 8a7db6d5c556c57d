"""The digests that the bases of a project are kept at: read before a build, and written when one has none yet or newer ones are asked for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lading.images.reference import Reference, parse_reference
from lading.locks.bases import NAME, read_bases, write_bases
from lading.locks.writing import write_lock_file
from lading.model.decisions import Decision, Kind
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field

_SHOWN = len("sha256:") + 12


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePins:
    """What ``base.lock`` at ``path`` says. ``upgrade``: it is to be made anew for the base of this build.

    ``locked``: a base that it lacks is an error; ``frozen``: it is taken as it is, and not written.
    """

    path: Path
    known: Mapping[str, str] = field(default_factory=dict)
    upgrade: bool = False
    locked: bool = False
    frozen: bool = False

    def digest(self, reference: Reference) -> str | None:
        """What a tag stands for in this project; None where its registry is to be asked.

        Raises:
            LadingError: if that is not known, and may not be asked.
        """
        found = self.known.get(str(reference))
        if found is None and self.locked:
            raise LadingError(_missing(reference))
        return None if self.upgrade else found

    def names(self, text: str) -> bool:
        """Whether the lock says which image a name stands for: that counts before one that was built here under the name."""
        return not self.upgrade and bool(self.known) and str(parse_reference(text)) in self.known

    def keep(self, reference: Reference, digest: str) -> str | None:
        """Write what a tag stood for when its registry was asked; says what has changed, if anything has.

        Raises:
            LadingError: if the file cannot be written, or is damaged by now.
        """
        if self.frozen:
            return None
        if self.known.get(str(reference)) == digest:
            return f"{reference} is still {digest[:_SHOWN]}." if self.upgrade else None
        try:
            with _alone_in(self.path.parent):  # another build may have locked its base since ours began
                known = _read(self.path)
                before = known.get(str(reference))
                if before == digest:
                    return None
                write_lock_file(self.path, write_bases({**known, str(reference): digest}).encode())
        except OSError as error:
            raise LadingError(_unwritten(error)) from error
        was = f", and was {before[:_SHOWN]}" if before else "; keep the file with the project"
        return f"Locked {reference} at {digest[:_SHOWN]} in {NAME}{was}."

    def decision(self, name: str, digest: str) -> Decision:
        """What is said of a base by a tag: the same in the build that locks it as in all others, as it stands in the image's labels."""
        if self.frozen and digest not in self.known.values():
            return _not_pinned(name, digest)
        return Decision(
            rule="base-pinned",
            kind=Kind.KEPT,
            subject="base",
            asked=name,
            chose=digest[:_SHOWN],
            because=f"{NAME} keeps what the tag stood for when it was locked, so that a build on another day stands on the same",
            origin=Origin(NAME),
            instead="--upgrade-base, for what it stands for today",
        )


def read_pins(path: Path, *, upgrade: bool = False, locked: bool = False, frozen: bool = False) -> BasePins:
    """The pins of a project; none where there is no such file.

    Raises:
        LadingError: if it cannot be read, or options contradict each other.
    """
    if upgrade and (locked or frozen):
        raise LadingError(_contradiction("--locked" if locked else "--frozen", "keeps the lock as it is"))
    return BasePins(path=path, known=_read(path), upgrade=upgrade, locked=locked, frozen=frozen)


def _read(path: Path) -> dict[str, str]:
    try:
        return read_bases(path.read_text(encoding="utf-8"), path.name)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise LadingError(
            Problem(rule="lock-damaged", what=f"{path.name} cannot be read: {error}.", origin=Origin(path.name), code=ExitCode.LOCK,
                    instead="Take the file from version control again, or delete it and run `lading build`.")
        ) from error  # fmt: skip


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While other builds that would write the lock wait. The folder itself is what is locked: a project gets no file for that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that knows no such locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def gone(name: str, digest: str) -> Problem:
    """The registry has no image of the digest any more."""
    return Problem(
        rule="base-gone",
        what=f"The base image {name} that {NAME} names is not in its registry any more ({digest[:_SHOWN]}).",
        origin=Origin(NAME),
        why="The tag stands for another image now, and the old one was removed.",
        instead="Run `lading build --upgrade-base`, and keep the new lock.",
        code=ExitCode.LOCK,
    )


def _contradiction(option: str, why: str) -> Problem:
    return Problem(
        rule="usage", what=f"--upgrade-base and {option} contradict each other.", why=f"{option} {why}.", instead="Use one of them."
    )


def _not_pinned(name: str, digest: str) -> Decision:
    return Decision(
        rule="base-not-pinned",
        kind=Kind.ADVICE,
        subject="base",
        asked=name,
        chose=f"{digest[:_SHOWN]}, which it stands for today",
        because=f"{NAME} does not name it, and --frozen writes nothing: a build on another day may stand on another",
        origin=Origin(NAME),
        instead="a build without --frozen, which locks it; or a base with its digest",
    )


def _missing(reference: Reference) -> Problem:
    return Problem(
        rule="lock-missing",
        what=f"{NAME} does not name {reference}, and it may not be changed (--locked).",
        origin=Origin(NAME),
        why="A tag is moved to newer images, so that the next build may stand on another.",
        instead=f"Run `lading build` once without --locked and keep {NAME} with the project, or name the base with its digest.",
        code=ExitCode.LOCK,
    )


def _unwritten(error: OSError) -> Problem:
    return Problem(
        rule="lock-not-written",
        what=f"{NAME} cannot be written: {error.strerror or error}.",
        origin=Origin(NAME),
        why="The lock belongs beside the project's configuration.",
        instead="Make the folder writable, name the base with its digest, or write --frozen to take the tag as it is.",
        code=ExitCode.LOCK,
    )
