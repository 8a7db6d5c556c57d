"""What a machine brings into an image of its own, beside what the lock says: chosen so that it differs least, and told where it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lading.images.media import Compression
from lading.model.decisions import Decision, Kind
from lading.model.records import dataclass
from lading.model.target import Interpreter

_NG = "zlib-ng"


@dataclass(frozen=True, slots=True)
class Compiler:
    """What compiles an environment's modules, if anything here can; and what is to be told of it."""

    interpreter: Interpreter | None
    decisions: tuple[Decision, ...] = ()


def choose_compiler(own: Interpreter | None, here: Callable[[], Iterable[Interpreter]], wanted: str) -> Compiler:
    """The Python that compiles for one of the version ``wanted`` (``3.11.7``): that very release if the machine has it.

    Bytecode is the same for all releases of a minor version as far as running it goes, but not byte for byte. ``own`` is the one that the
    project runs on, ``here`` finds all of this machine's.
    """
    minor = ".".join(wanted.split(".")[:2])
    if own is not None and own.version == wanted:
        return Compiler(own)
    fitting = [one for one in here() if one.minor == minor]
    exact = next((one for one in fitting if one.version == wanted), None)
    if exact is not None:
        return Compiler(exact)
    found = own if own is not None and own.minor == minor else next(iter(fitting), None)
    if found is None:
        return Compiler(None, (bytecode_left_out(minor),))
    # A lock that names no release can be made by any.
    return Compiler(found, (_another_release(found.version, wanted),) if wanted.count(".") == 2 else ())


def bytecode_left_out(minor: str, subject: str = "bytecode") -> Decision:
    """Nothing here can compile for a version of Python."""
    return Decision(
        rule="bytecode-left-out",
        kind=Kind.ADVICE,
        subject=subject,
        asked=f"modules compiled for Python {minor}",
        chose="none in the image",
        because=f"there is no Python {minor} on this machine to compile them: containers do that at each start, and a machine that has one makes another image",
        instead=f"`uv python install {minor}` before the build; or --no-bytecode on every machine",
    )


def _another_release(has: str, wanted: str) -> Decision:
    return Decision(
        rule="bytecode-of-another-release",
        kind=Kind.ADVICE,
        subject="bytecode",
        asked=f"Python {wanted}, which the lock was made with",
        chose=f"compiled by {has}",
        because="it runs the same, but a machine that has the lock's release makes layers of other digests",
        instead=f"`uv python install {wanted}` before the build; or --no-bytecode on every machine",
    )


def compressor_decisions(compression: Compression, zlib_version: str) -> tuple[Decision, ...]:
    """What is to be told of this machine's zlib, by its version."""
    if compression is not Compression.GZIP or _NG not in zlib_version:
        return ()
    return (
        Decision(
            rule="compressed-by-zlib-ng",
            kind=Kind.ADVICE,
            subject="layers",
            asked="gzip as zlib writes it",
            chose=f"as {_NG} writes it ({zlib_version})",
            because="the Python that runs Lading has it in zlib's place: on machines with zlib the same layers have other digests",
            instead="the same kind of Python on every machine that builds; or --compress zstd",
        ),
    )
