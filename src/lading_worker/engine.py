"""The worker's life: load, set up, serve, end."""

import os
import sys
import threading
from _thread import start_new_thread
from collections import OrderedDict
from json import loads
from time import perf_counter, sleep

from lading_worker import call as calls
from lading_worker import channel, ending, loading, scope
from lading_worker.cancel import MainGuard, ThreadGuard
from lading_worker.channel import Channel
from lading_worker.eager import Eager
from lading_worker.output import Outputs
from lading_worker.shared import Region

_KEPT = 1024  # cancelations remembered for calls that have not arrived yet


class _Quit(BaseException):
    """The front has asked for the end, and nothing runs in the main thread."""


def main(arguments):
    """Serve until the front has had enough. Never returns."""
    options = dict(zip(arguments[::2], arguments[1::2]))
    control = Channel(int(options["--control"]))
    numbers = options["--slots"].split(",")
    regions = [Region(int(number)) for number in options["--shared"].split(",")] if "--shared" in options else [None] * len(numbers)
    slots = [calls.Slot(Channel(int(number)), region) for number, region in zip(numbers, regions)]
    channel.watch_forks()
    ending.die_with_parent()
    ending.tell_of_crashes()
    outputs = Outputs(control, [int(number) for number in options["--output"].split(",")])
    frame = control.read()
    if frame is None or frame[0] != channel.LOAD:
        os._exit(1)
    python = ".".join(map(str, sys.version_info[:3]))
    control.send(channel.HELLO, 0, {"pid": os.getpid(), "python": python, "implementation": sys.implementation.name})
    Engine(control, slots, outputs, loads(frame[2].decode())).run()


class Engine:
    """One predictor in this process. `run` is the main thread's, everything that begins with ``_on`` the control thread's."""

    def __init__(self, control, slots, outputs, load):
        self.control, self.slots, self.outputs, self.load = control, slots, outputs, load
        self.quitting = False
        self.style = None
        self.loop = None
        self._batches = None
        self._tracing = None
        self._early = OrderedDict()
        self._idle = self._is_ready = False
        self._checking = threading.Lock()
        self._go = threading.Event()
        self._guard = MainGuard(self._on_wake)

    def run(self):
        """Load, set up, serve. Ends the process."""
        threading.Thread(target=self._serve_control, name="lading-control", daemon=True).start()
        # Before the model is imported: it may turn the threads that come afterwards into something else (gevent does).
        for slot in self.slots[1:]:
            threading.Thread(target=self._serve_slot, args=(slot,), name="lading-slot", daemon=True).start()
        self._start()
        if self.loop is not None and self.style.asynchronous:
            self.loop.serve()
        else:
            self._serve()
        ending.end(0, self._flush)

    # Setup

    def _start(self):
        root = self.load["root"]
        began = perf_counter()
        phase = "import"
        try:
            make_style = self._style()
            loading.prepare_path(root, self.load["python_path"], self.load["file"])
            loading.distrust_bytecode(root, self.load.get("watched"))
            if "COG_TRACE_CONFIGURED" in os.environ and self.load["style"] == "cog":
                from lading_worker import tracing

                self._tracing = tracing.start(root, self._report)
            target = loading.load(root, self.load["file"], self.load["object"])
            self.style = make_style(self.load, target)
            for slot in self.slots:
                slot.views = self.load["style"] == "cog"
            phase = "setup"
            if self.style.asynchronous:
                self._make_loop()
            waiting = self.style.setup()
            if waiting is not None:
                self._make_loop()
                self.loop.wait_for(waiting)
        except BaseException as error:
            self._fail(error, phase)
        self._flush()
        self._is_ready = True
        self.control.send(channel.READY, 0, self._ready(perf_counter() - began))

    def _style(self):
        # Before the project is on the path, and before the model can patch what is imported here.
        if self.load["style"] == "cortex":
            if (self.load.get("cortex") or {}).get("kind", "RealtimeAPI") != "RealtimeAPI":
                from lading_worker.cortex_jobs import CortexJobs

                return CortexJobs
            if (self.load.get("cortex") or {}).get("grpc"):
                from lading_worker import grpc_style

                return grpc_style.make(self.load)
            from lading_worker.payload import CortexPayload

            return CortexPayload
        from lading_worker.cog_style import CogStyle

        return CogStyle

    def _make_loop(self):
        if self.loop is None:
            # Not before the model is imported: it may have chosen another kind of loop.
            from lading_worker.looping import Loop

            self.loop = Loop(self)

    def _fail(self, error, phase):
        if channel.is_fork():
            ending.end_fork(error)
        head = loading.describe(error, self.load["root"], phase)
        self._flush()
        self.control.send(channel.SETUP_FAILED, 0, head)
        ending.end(1, self._flush)

    def _ready(self, seconds):
        style = self.style
        return {
            "setup_seconds": seconds,
            "asynchronous": style.asynchronous,
            "streaming": style.streaming,
            "healthcheck": style.healthcheck is not None,
            "encoder": style.encoder,
            **({"model_metadata": style.model_metadata} if getattr(style, "model_metadata", None) else {}),
            "shared": self.slots[0].region is not None,
            **({"files": loading.loaded_files()} if self.load.get("watched") else {}),
        }

    # Serving, one thread for each slot

    def _serve(self):
        self._go.set()
        slot = self.slots[0]
        slot.guard = self._guard
        if self.load.get("batching") is not None:
            from lading_worker.batching import Batches

            self._batches = Batches(self, self.load["batching"])
        elif len(self.slots) == 1:
            slot.channel.eager = Eager.of(slot.channel.number)
        try:
            while not self.quitting:
                self._idle = True
                # What comes before this line is seen here, what comes after is raised by `_on_wake`.
                if self.quitting:
                    break
                following = slot.channel.read() if self._batches is None else self._batches.next()
                self._idle = False
                if not self.quitting:
                    self._run(slot, following)
        except _Quit:
            pass
        self._idle = False
        while any(slot.running for slot in self.slots):
            sleep(0.005)

    def _serve_slot(self, slot):
        self._go.wait()
        slot.guard = ThreadGuard()
        while not self.quitting:
            self._run(slot, slot.channel.read())

    def _run(self, slot, frame):
        if frame is None:
            ending.front_is_gone()
        if frame[0] == channel.MORE:
            return  # of a stream whose call is over
        try:
            after = self._answer(slot, frame) if self._batches is None else self._batches.run(frame)
            if after is not None:
                after()
        except Exception as error:
            if (self._batches or slot).running is None:
                self._report(error)
            else:
                self.give_up(error)
        except BaseException as error:
            self.give_up(error)

    def _answer(self, slot, frame):
        """Run one prediction; what is to be run after its answer, or None."""
        call = slot.begin(frame, self.take_early)
        after = None
        if call.canceled:
            call.stopped()
        else:
            running = calls.enter(call)
            span = self.attach(call)
            after = self.style.answer(call)
            if span is not None:
                self._tracing.detach(span)
            scope.leave(running)
        slot.finish()
        return after

    def attach(self, call):
        """Make the model's spans below the call's own, where there are traces."""
        return None if self._tracing is None else self._tracing.attach(call.head)

    def busy(self):
        """The main thread has something to run."""
        self._idle = False

    def give_up(self, error):
        """The model has called ``sys.exit``, or was interrupted: the process ends, as it would anywhere."""
        if channel.is_fork():
            ending.end_fork(error)
        ending.end_by(error, self._flush)

    def _report(self, error):
        self.outputs.outside.write("stderr", loading.trace(error).encode("utf-8", "backslashreplace"))

    def _flush(self):
        self.outputs.outside.close()
        running = [slot.running for slot in self.slots if slot.running is not None]
        for call in running if self._batches is None else self._batches.open_calls():
            call.output.close()

    # What the front says meanwhile, in a thread of its own

    def _serve_control(self):
        actions = {channel.CANCEL: self._on_cancel, channel.QUIT: self._on_quit, channel.CHECK: self._on_check}
        while True:
            frame = self.control.read()
            if frame is None:
                ending.front_is_gone()
            try:
                actions[frame[0]](frame[1])
            except Exception as error:  # no more threads, no more memory: whoever waits for it does so with a limit
                self._report(error)

    def _on_cancel(self, number):
        self._early[number] = True
        if self.loop is not None and self.style.asynchronous:
            self.loop.cancel(number)
            return
        places = self.slots if self._batches is None else [self._batches]
        if any(place.strike(number) for place in places):
            self._early.pop(number, None)
        while len(self._early) > _KEPT:
            self._early.popitem(last=False)

    def take_early(self, number):
        """Whether this call was canceled before it arrived here."""
        return self._early.pop(number, False)

    def _on_quit(self, _number):
        if not self._is_ready:
            os._exit(0)
        self.quitting = True
        if self.loop is not None and self.style.asynchronous:
            self.loop.quit()
        else:
            self._guard.wake()
            while self._idle:
                # A signal that comes just before the main thread falls asleep does not wake it.
                sleep(0.02)
                self._guard.wake()

    def _on_wake(self):
        # In the main thread, which was interrupted by a signal.
        if self.quitting and self._idle:
            raise _Quit

    def _on_check(self, _number):
        if self.style is None or self.style.healthcheck is None:
            self.control.send(channel.HEALTH, 0, {"healthy": True, "error": None})
        elif self._checking.acquire(False):
            start_new_thread(self._check, ())

    def _check(self):
        try:
            healthy = self.style.healthcheck()
            if hasattr(healthy, "__await__"):
                self._make_loop()
                healthy = self.loop.wait_elsewhere(healthy)
            head = {"healthy": healthy is None or bool(healthy), "error": None}
        except BaseException as error:
            self._report(error)
            head = {"healthy": False, "error": f"the health check raised {loading.one_line(error)}"}
        self._checking.release()
        self.control.send(channel.HEALTH, 0, head)
