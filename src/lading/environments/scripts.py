"""Running a project's install scripts where the user allows it, and remembering what was allowed and what has run.

::

    LADING_HOME/scripts/<sha256>.json    that a script of this content may run, and the projects in which it has run
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lading.environments.home import home
from lading.model.events import Event, Phase, Reporter
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.scripts import Script
from lading.model.secrets import Redactor, Secret
from lading.resolvers.process import started

STEP = "Running"
FOLDER = "scripts"
_TAIL = 30


@dataclass(frozen=True, slots=True)
class Consent:
    """What is remembered about a script's content: the answer to whether it may run (None: never asked), and where it has run."""

    allowed: bool | None = None
    ran: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about scripts that packages bring.

    ``allows`` is asked for each before it runs; ``say`` hears what they print, and of those that are left.
    """

    allows: Callable[[Script], bool]
    say: Callable[[str], None]


def remembered(script: Script) -> bool:
    """Whether a script of this content was allowed before."""
    return consent_to(script).allowed is True


def consent_to(script: Script) -> Consent:
    """What was said before about a script of this content; nothing, where it cannot be read."""
    try:
        record = json.loads(_place(script).read_text(encoding="utf-8"))
        return Consent(None if record["allowed"] is None else bool(record["allowed"]), tuple(str(root) for root in record["ran"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Consent()


def remember(script: Script, consent: Consent) -> None:
    """Keep what was said, for scripts of the same content everywhere. A home that cannot be written forgets."""
    place = _place(script)
    record = {"path": script.path, "allowed": consent.allowed, "ran": list(consent.ran)}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(record, indent=1), encoding="utf-8")
        aside.replace(place)
    except OSError:
        return


def _place(script: Script) -> Path:
    return Path(home()) / FOLDER / f"{script.sha256}.json"


def has_run(script: Script, root: Path) -> bool:
    """Whether a script of this content has run to its end in this project."""
    return str(root) in consent_to(script).ran


def run_script(
    script: Script, root: Path, environ: Mapping[str, str], reporter: Reporter, heard: Callable[[str], None], *, hidden: Iterable[str] = ()
) -> None:
    """Run a script in the project's folder with bash, its output line by line to ``heard``; remember that it has run.

    Values of variables that are named like credentials are masked in the output, and so are those in ``hidden``.
    pip refuses to install outside of a virtual environment meanwhile, so that the script cannot fill the machine's own Python.

    Raises:
        LadingError: if it cannot be started, or ends with another status than 0.
    """
    reporter(Event(step=STEP, phase=Phase.STARTED, message=script.path))
    command = ["bash", "-e", str(root / script.path)]
    redact = Redactor((*secrets_of(environ), *(Secret(value) for value in hidden)))
    try:
        must_succeed(
            script,
            (command, root, {"PIP_REQUIRE_VIRTUALENV": "1", **environ}),
            redact,
            heard,
            instead="Correct the script, or run its commands by hand.",
        )
    except LadingError:
        reporter(Event(step=STEP, phase=Phase.FAILED))
        raise
    consent = consent_to(script)
    remember(script, Consent(consent.allowed, tuple(dict.fromkeys((*consent.ran, str(root))))))
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=script.path))


def must_succeed(
    script: Script, call: tuple[list[str], Path, Mapping[str, str]], redact: Redactor, heard: Callable[[str], None], *, instead: str
) -> None:
    """Run a script: ``call`` is its command, folder and variables. Its output goes masked to ``heard``; ``instead`` is the advice if it fails.

    Raises:
        LadingError: if it cannot be started, or ends with another status than 0.
    """
    lines: list[str] = []

    def told(line: str) -> None:
        lines.append(redact(line))
        heard(lines[-1])

    try:
        code = _execute(*call, told)
    except OSError as error:
        raise LadingError(_problem(script, f"bash cannot be started: {error.strerror}", "Install bash.", [])) from error
    if code:
        raise LadingError(_problem(script, f"it ended with status {code}", instead, lines))


def _execute(command: list[str], folder: Path, environ: Mapping[str, str], told: Callable[[str], None]) -> int:
    """Run a script in a process group of its own, its output line by line to ``told``; whatever interrupts the wait ends all of it.

    Raises:
        OSError: if it cannot be started.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(command, _kill, cwd=folder, env=environ, **streams) as process:
        ending = threading.Thread(target=_end_rest, args=(process.pid,), daemon=True)
        ending.start()
        assert process.stdout is not None
        for line in process.stdout:
            told(line.rstrip("\n"))
        ending.join()  # before the process is reaped
        return process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end_rest(pid: int) -> None:
    """What a script leaves running ends with it, as in builds of images: it would hold the output open, and nobody would end it later."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return
    with contextlib.suppress(ChildProcessError, ProcessLookupError, PermissionError):
        # The ended process stays unreaped while its group is killed, so that its id cannot belong to somebody else yet.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.killpg(pid, signal.SIGKILL)


def secrets_of(environ: Mapping[str, str]) -> list[Secret]:
    """Values of variables that are named like credentials."""
    names = ("TOKEN", "PASSWORD", "SECRET", "API_KEY")
    return [Secret(value) for name, value in environ.items() if any(part in name.upper() for part in names)]


def _problem(script: Script, why: str, instead: str, lines: list[str]) -> Problem:
    return Problem(
        rule="script-failed",
        what=f"{script.path} failed.",
        origin=script.origin,
        why=f"{why[:1].upper()}{why[1:]}.",
        instead=instead,
        code=ExitCode.BUILD,
        detail="\n".join(lines[-_TAIL:]) or None,
    )
