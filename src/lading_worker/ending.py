"""How the process ends: by itself, with the front, or by what the model does."""

import atexit
import os
import signal
import sys
from _thread import start_new_thread
from time import sleep

from lading_worker import loading

_EXIT_SECONDS = 3.0  # for the exit handlers of the model


def die_with_parent():
    """Ask the kernel to kill this process with the front, even if it hangs in native code then. Linux only."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    except Exception:  # noqa: S110 - a Python without ctypes: the closed socket tells, too
        pass


def tell_of_crashes():
    """Let a crash in native code print the Python line that it happened in."""
    try:
        import faulthandler

        faulthandler.enable(file=2, all_threads=False)
    except Exception:  # noqa: S110 - descriptor 2 may be anything
        pass


def front_is_gone():
    """Nobody will read an answer: kill what the model has started, and this process."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def end(code, flush):
    """End the process: exit handlers first, but not for long; threads are not waited for. ``flush`` sends what is still held back."""
    _run_exit_handlers(code, flush)
    os._exit(code)


def end_by(error, flush):
    """End the process as Python ends for this exception."""
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            sys.stderr.write(f"{loading.message(error)}\n")
        end(loading.exit_code(error), flush)
    sys.stderr.write(loading.trace(error))
    if isinstance(error, KeyboardInterrupt):
        _run_exit_handlers(130, flush)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        sleep(1)
        os._exit(130)
    end(1, flush)


def end_fork(error):
    """End a child that the model has forked and let run into our code; its exit handlers are the worker's, and not run."""
    code = 0
    if isinstance(error, SystemExit):
        code = loading.exit_code(error)
    elif error is not None:
        sys.stderr.write(loading.trace(error))
        code = 1
    os._exit(code)


def _run_exit_handlers(code, flush):
    start_new_thread(_exit_later, (code,))
    flush()
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - `sys.exit` would wait for the model's threads first
    except BaseException as error:
        sys.stderr.write(loading.trace(error))
    flush()


def _exit_later(code):
    sleep(_EXIT_SECONDS)
    os._exit(code)
