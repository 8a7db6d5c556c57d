"""Asynchronous predictors: one event loop in the main thread runs the predictions of every slot."""

import asyncio

from lading_worker import call as calls
from lading_worker import ending, scope


class Loop:
    """The event loop. Made in the main thread, or in a health check's for a predictor that is not asynchronous."""

    def __init__(self, engine):
        self._engine = engine
        self._loop = asyncio.new_event_loop()
        self._tasks = {}
        self._serving = engine.style.asynchronous
        asyncio.set_event_loop(self._loop)

    def wait_for(self, waiting):
        """Wait for a coroutine of ``setup``."""
        self._use()
        return self._loop.run_until_complete(_awaited(waiting))

    def _use(self):
        # `asyncio.run` in a model's `setup` leaves the thread without a loop.
        asyncio.set_event_loop(self._loop)

    def wait_elsewhere(self, waiting):
        """Wait for a coroutine in a thread that is not the loop's: in the loop if it serves, else here."""
        if self._serving:
            return asyncio.run_coroutine_threadsafe(_awaited(waiting), self._loop).result()
        return self._loop.run_until_complete(_awaited(waiting))

    def serve(self):
        """Serve every slot until `quit`."""
        self._use()
        for slot in self._engine.slots:
            self._loop.add_reader(slot.channel.number, self._on_readable, slot)
        try:
            self._loop.run_forever()
        except BaseException as error:
            self._engine.give_up(error)

    def _on_readable(self, slot):
        if not slot.channel.fill():
            ending.front_is_gone()
        self._next(slot)

    def _next(self, slot):
        if slot in self._tasks:
            return
        frame = None if self._engine.quitting else slot.channel.take()
        if frame is not None:
            self._tasks[slot] = asyncio.ensure_future(self._run(slot, frame), loop=self._loop)
        elif self._engine.quitting and not self._tasks:
            self._loop.stop()

    async def _run(self, slot, frame):
        try:
            call = slot.begin(frame, self._engine.take_early)
            if call.canceled:
                call.stopped()
            else:
                running = calls.enter(call)
                self._engine.attach(call)
                await self._engine.style.answer_async(call)
                scope.leave(running)
        except BaseException as error:
            self._engine.give_up(error)
        slot.finish()
        del self._tasks[slot]
        self._next(slot)

    # Called by the control thread

    def cancel(self, number):
        """Cancel the task of a call."""
        self._loop.call_soon_threadsafe(self._cancel, number)

    def _cancel(self, number):
        for slot, task in self._tasks.items():
            call = slot.running
            if call is not None and call.number == number:
                self._engine.take_early(number)
                call.canceled = True
                task.cancel()

    def quit(self):
        """Stop serving when what runs is done."""
        self._loop.call_soon_threadsafe(self._on_quit)

    def _on_quit(self):
        for slot in self._engine.slots:
            self._next(slot)


async def _awaited(waiting):
    return await waiting
