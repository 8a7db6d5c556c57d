"""Beginning to install a lock before it is known to be what the project wants.

Reading a project and planning takes Python about as long as installing takes uv. So where a project has a lock and no environment
yet, uv is started first: offline, with wheels that were downloaded before alone, into a folder that nobody looks into. When the plan turns
out to want exactly this lock with exactly this Python, the store takes the folder over; else it is thrown away. What uv does here reads
no index, holds no credential and runs nobody's code.

Imports next to nothing, as it runs before everything else.
"""

from __future__ import annotations

import os
import sys

from lading.environments.home import home

TYPE_CHECKING = False  # typing's own constant, without importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK = "pylock.lading.toml"
ENVIRONMENT = "env"

QUESTION = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.prefix)"
"""What an environment's interpreter is asked when it is finished."""

_SCRIPT = """
"$0" venv -q --relocatable --no-project --python "$1" "$2/env" &&
"$0" pip sync -q --preview-features pylock --no-build --python "$2/env/bin/python" "$3" &&
"$2/env/bin/python" -I -c "$4" > "$2/answer"
"""
_VARIABLES = {"UV_NO_CONFIG": "1", "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
_KEPT = ("UV_CACHE_DIR", "UV_LINK_MODE")
# What takes more than wheels (or might): as the lock's writer spells it.
_NEEDS_MORE = (b"[packages.directory]", b"directory = {", b"[packages.vcs]", b"vcs = {", b"-settings", b"conda")

begun: Ahead | None = None
"""What was begun in this process and not taken over yet."""


class Ahead:
    """An installation that was begun. It is thrown away when the process ends, unless it was taken over."""

    def __init__(self, text: bytes, python: str, folder: str, claim: int, pid: int) -> None:
        self.text, self.python, self.folder = text, python, folder
        self._claim, self._pid = claim, pid
        self._status: int | None = None

    @property
    def environment(self) -> str:
        """Where the environment is being made."""
        return os.path.join(self.folder, ENVIRONMENT)

    def answer(self) -> str:
        """What the environment's interpreter says about itself, once `wait` was true."""
        return os.fsdecode(_read(os.path.join(self.folder, "answer")))

    def wait(self) -> bool:
        """Whether it succeeded."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status == 0

    def discard(self) -> None:
        """End it, and remove what is left of it."""
        import contextlib  # noqa: PLC0415 -- only at the end
        import shutil  # noqa: PLC0415 -- as above
        import signal  # noqa: PLC0415 -- as above

        global begun  # noqa: PLW0603 -- there is one in a process
        begun = None
        if self._status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            self.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        from lading.environments.claims import give_back  # noqa: PLC0415 -- as above

        if self._claim >= 0:
            give_back(home(), os.path.basename(self.folder), self._claim)
            self._claim = -1


def begin(root: str) -> None:
    """Begin to install the lock of a project, where it can be done blindly. Whatever stands against it means: do nothing. Never raises."""
    global begun  # noqa: PLW0603 -- there is one in a process
    try:
        text = _read(os.path.join(root, LOCK))
        python = _interpreter(text)
        program = os.path.join(sys.prefix, "bin", "uv")
        if python and os.access(program, os.X_OK) and not any(mark in text for mark in _NEEDS_MORE):
            begun = _start(root, text, python, program)
    except OSError:
        return
    if begun is not None:
        import atexit  # noqa: PLC0415 -- built in

        atexit.register(begun.discard)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _interpreter(text: bytes) -> str | None:
    """The Python that the lock was made for, if this machine is known to have it: the running one, or the one with that version."""
    _, _, target = text.partition(b"\n[tool.lading.target]\n")
    version = next((line[10:-1].decode() for line in target.split(b"\n\n")[0].split(b"\n") if line.startswith(b'python = "')), "")
    if not version:
        return None
    running = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    if version == ".".join(map(str, sys.version_info[:3])) and sys.version_info.releaselevel == "final":
        return running
    import json  # noqa: PLC0415 -- only for another Python than this one

    try:
        known = json.loads(_read(os.path.join(home(), "interpreters.json")))["interpreters"].values()
        found = {one["executable"] for one in known if one["version"] == version and not one["free_threaded"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return str(found.pop()) if len(found) == 1 else None


def _start(root: str, text: bytes, python: str, program: str) -> Ahead | None:
    from lading.environments.claims import take  # noqa: PLC0415 -- only where there is a lock

    store = home()
    name = f"ahead-{os.getpid()}"
    folder = os.path.join(store, "building", name)
    if not os.path.isdir(store):
        return None
    claim = take(store, name)
    if claim is None:
        return None
    if os.path.isdir(folder):  # a killed process with our number left it
        import shutil  # noqa: PLC0415 -- hardly ever

        shutil.rmtree(folder)
    os.makedirs(folder)
    command = ["/bin/sh", "-c", _SCRIPT, program, python, folder, os.path.join(root, LOCK), QUESTION]
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    os.set_inheritable(claim, True)  # uv keeps the claim, should it outlive us
    try:
        pid = os.posix_spawn(command[0], command, _environ(os.environ), file_actions=nothing, setpgroup=0)
    finally:
        os.set_inheritable(claim, False)
    return Ahead(text, python, folder, claim, pid)


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if not name.startswith(("UV_", "PIP_", "PYTHON", "__PYVENV")) or name in _KEPT}
    return {**kept, **_VARIABLES}
