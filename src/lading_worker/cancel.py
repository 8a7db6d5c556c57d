"""Stopping a prediction that runs, at a point where nothing but the model's own code can be interrupted.

Like Cog, a synchronous prediction is stopped by an exception, ``cog.CancelationException``, raised in the middle of whatever it
does. The exception must never strike our own code (half a frame would be written), nor the next prediction (when it arrives just as
``predict`` returns). So each thread that runs predictions has a guard: the model's code is *exposed*, everything else *shielded*, and
what is asked for meanwhile waits.
"""

import contextlib
import signal
from _thread import start_new_thread
from threading import get_ident
from time import sleep

from lading_worker.scope import CancelationException

# One that nothing else uses: the C library keeps the first real-time signals, and models take SIGUSR1.
_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2

_PAUSES = (0.02, 0.1, 0.5, 1.0)  # seconds between the signals of one cancelation that has not arrived

_guards = {}


def current():
    """The guard of this thread, None where no predictions run."""
    return _guards.get(get_ident())


class Shield:
    """Entered by our code when the model's calls it (``print``): cancelation waits until it is left."""

    __slots__ = ("_guard",)

    def __enter__(self):
        guard = current()
        self._guard = guard if guard is not None and guard.exposed else None
        if self._guard is not None:
            self._guard.shield()

    def __exit__(self, *_):
        if self._guard is not None:
            self._guard.expose()


class _Guard:
    def __init__(self):
        self.exposed = False
        self.wanted = False
        self._thread = get_ident()
        _guards[self._thread] = self

    def forget(self):
        """The prediction is over: what was asked too late is void."""
        self.wanted = False


class MainGuard(_Guard):
    """The main thread's: a signal interrupts even what blocks in a system call, such as ``time.sleep``.

    Python runs the handlers of signals in the main thread between two steps of its code, so looking and raising are one.
    """

    def __init__(self, on_wake):
        super().__init__()
        self._on_wake = on_wake
        signal.signal(_SIGNAL, self._on_signal)

    def expose(self):
        """From here on the prediction may be interrupted; raises if that was asked meanwhile."""
        self.exposed = True
        if self.wanted:
            self._raise()

    def shield(self):
        """From here on it may not."""
        self.exposed = False

    def strike(self):
        """Called by another thread: interrupt as soon as the model's code runs."""
        self.wanted = True
        self.wake()
        # A signal that comes just before the main thread falls asleep in the kernel does not wake it.
        start_new_thread(self._insist, ())

    def _insist(self):
        for pause in _PAUSES:
            sleep(pause)
            if not self.wanted:
                break
            self.wake()

    def wake(self):
        """Called by another thread: interrupt what the main thread waits for; the handler calls ``on_wake``."""
        signal.pthread_kill(self._thread, _SIGNAL)

    def _on_signal(self, _number, _frame):
        if self.wanted and self.exposed:
            self._raise()
        self._on_wake()

    def _raise(self):
        self.wanted = self.exposed = False
        raise CancelationException


class ThreadGuard(_Guard):
    """Another thread's: it can only be interrupted between two steps of Python code (``PyThreadState_SetAsyncExc``).

    That sets a mark which the thread finds later, perhaps when it is in our code already. ``_striking`` is up from before
    the striker looks whether the thread is exposed until the exception has arrived, or was not sent; the thread waits for
    that whenever it crosses the border, so it arrives on the right side.
    """

    def __init__(self):
        super().__init__()
        self._striking = False
        # Now, not while the thread waits: it may hold the lock of an import.
        with contextlib.suppress(ImportError):
            import ctypes  # noqa: F401

    def expose(self):
        """See `MainGuard.expose`."""
        self.exposed = True
        self._settle()
        if self.wanted:
            self.wanted = self.exposed = False
            raise CancelationException

    def shield(self):
        """See `MainGuard.shield`; raises if the exception is on its way."""
        self.exposed = False
        self._settle()

    def _settle(self):
        while self._striking:
            sleep(0)

    def strike(self):
        """See `MainGuard.strike`. Without ``ctypes`` nothing happens: then the front ends the process."""
        self._striking = True
        if not self.exposed:
            self.wanted = True
            self._striking = False
        elif not self._send(self._messenger()):
            self._striking = False

    def _send(self, exception):
        try:
            import ctypes

            number = ctypes.c_ulong(self._thread)
            return ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(exception)) == 1
        except Exception:
            return False

    def _messenger(self):
        """The exception as a class of its own that tells of its arrival: Python makes the instance in the thread that it strikes."""
        guard = self

        class Messenger(CancelationException):
            def __init__(self):
                guard._striking = False

        Messenger.__name__ = CancelationException.__name__
        Messenger.__qualname__ = CancelationException.__qualname__
        Messenger.__module__ = CancelationException.__module__
        return Messenger
