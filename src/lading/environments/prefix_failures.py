"""What py-rattler says when packages cannot be installed, as problems. It has texts only; what is not recognised is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Callable

from lading.model.conda import redact_conda
from lading.model.origin import Origin
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass
from lading.resolvers.conda_client import certificate_refused


@dataclass(frozen=True, slots=True)
class _Said:
    """The text, with the package that it is about and the lock that names it."""

    text: str
    subject: str
    origin: Origin

    @property
    def first(self) -> str:
        return self.text.partition("\n")[0]


def explain(error: Exception, lock: str) -> Problem:
    """The problem of a failed installation; ``lock`` is the lock's name."""
    text = redact_conda(str(error))
    if isinstance(error, TimeoutError):
        return _unreachable(_Said(text, "A conda package", Origin(lock)))
    package = re.search(r"failed to (?:fetch|download|link|extract) (?:'|`)?([\w.+-]+)", text)
    said = _Said(text, package[1] if package else "A conda package", Origin(lock))
    return next((describe for pattern, describe in _KNOWN if re.search(pattern, text)), _unknown)(said)


def _full(said: _Said) -> Problem:
    return Problem(
        rule="disk-full",
        what="There is no space left for the conda packages.",
        why=said.first,
        instead="Free some space (`lading env prune`), or set LADING_HOME to a larger disk.",
        code=ExitCode.BUILD,
        detail=said.text,
    )


def _hash(said: _Said) -> Problem:
    return Problem(
        rule="hash-mismatch",
        what=f"{said.subject} has another hash than the lock.",
        origin=said.origin,
        why="The channel's file was changed after the lock was made, or on the way.",
        instead="If you trust the channel, run `lading lock --upgrade`; otherwise find out who changed the file.",
        code=ExitCode.RESOLUTION,
        detail=said.text,
    )


def _refused(said: _Said) -> Problem:
    return Problem(
        rule="conda-channel-refused",
        what=f"{said.subject} cannot be downloaded: its channel does not accept the credentials.",
        origin=said.origin,
        why=said.first,
        instead="Write them as ${VARIABLES} into the channel's URL, or into the file that RATTLER_AUTH_FILE names.",
        code=ExitCode.NETWORK,
        detail=said.text,
    )


def _gone(said: _Said) -> Problem:
    return Problem(
        rule="conda-file-gone",
        what=f"{said.subject} is not where the lock says it is.",
        origin=said.origin,
        why="The channel does not have this file any more.",
        instead="Run `lading lock --upgrade`, or name a channel that keeps its files.",
        code=ExitCode.NETWORK,
        detail=said.text,
    )


def _certificate(said: _Said) -> Problem:
    return certificate_refused(f"The channel of {said.subject}", said.text, said.origin)


def _unreachable(said: _Said) -> Problem:
    return Problem(
        rule="conda-channel-unreachable",
        what=f"{said.subject} cannot be downloaded: its channel does not answer.",
        origin=said.origin,
        why=said.text.replace("\nCaused by: ", "; "),
        instead="Try again, or check the network and its proxy (HTTPS_PROXY).",
        code=ExitCode.NETWORK,
    )


def _unknown(said: _Said) -> Problem:
    return Problem(
        rule="conda-install-failed",
        what="The conda packages could not be installed.",
        origin=said.origin,
        why="py-rattler, which installs them for Lading, says why below.",
        instead="Try again; if it stays so, remove the folder conda below LADING_HOME, which is a cache.",
        code=ExitCode.BUILD,
        detail=said.text,
    )


_KNOWN: tuple[tuple[str, Callable[[_Said], Problem]], ...] = (
    (r"No space left|os error 28", _full),
    (r"(?i)hash mismatch", _hash),
    (r"HTTP status client error \((401|403)", _refused),
    (r"HTTP status client error \(404|No such file or directory", _gone),
    (r"invalid peer certificate", _certificate),
    (r"HTTP status|error sending request|dns error|client error \(Connect\)", _unreachable),
)
