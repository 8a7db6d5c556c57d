"""The command's entry: answers what needs no project at once, and hands over the rest.

``lading --version``, ``lading --help`` and a ``lading install`` with nothing to do must cost little more than starting Python, so
this module and what it imports at the top stay with ``sys`` and ``os``.
"""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command line given in ``sys.argv``; returns the exit status, if Python may be ended in its usual way."""
    try:
        status = _status()
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        status = ended.code
    if "lading.environments.threads" in sys.modules and status == _INTERRUPTED:
        from lading.environments.threads import any_left

        if any_left():
            _end_at_once(status, wait=False)
    if "rattler" in sys.modules:
        _end_at_once(status)
    return status


def _end_at_once(status: int, *, wait: bool = True) -> None:
    """End the process without taking Python down, nor waiting for its threads if they are not to be waited for.

    py-rattler's threads may be about to let go of Python at this moment, and where that is gone meanwhile they abort the process
    (``PyGILState_Release: thread state must be current when releasing``). What Python does before that is done here: it waits for threads, calls
    what was registered for the end, and writes what is left.
    """
    import atexit
    import threading

    if wait:
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 -- there is no public way
    atexit._run_exitfuncs()  # noqa: SLF001 -- as above
    _silence()
    os._exit(status)


def _status() -> int:
    try:
        status = _main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nobody is left to tell.
        _silence()
        return 0
    except OSError as error:
        print(f"error: Standard output cannot be written: {error.strerror}.", file=sys.stderr)
        _silence()
        return 2
    return status


def _silence() -> None:
    """Python must not try again at exit to write what could not be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())


def _main(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        from lading import __version__

        print(f"lading {__version__}")
        return 0
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        from lading.cli.verbs import overview

        print(overview())
        return 0
    from lading.cli.fast import nothing_to_do

    if nothing_to_do(arguments):
        return 0
    import gc

    # What is loaded now stays until the end: looking for garbage in it, while loading and at the end, costs a tenth of a short run.
    gc.set_threshold(200_000)
    from lading.cli.run import run

    status = run(arguments)
    gc.freeze()
    return status


if __name__ == "__main__":
    sys.exit(main())
