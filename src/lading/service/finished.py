"""Predictions that are over, for those who ask for them later: bounded in time, number and size."""

from __future__ import annotations

import time
from collections import OrderedDict

from lading.service.calls import Call, Result

KEPT_SECONDS = 600.0
"""How long a finished prediction can be asked for."""
KEPT_COUNT = 1000
KEPT_BYTES = 32 * 1024 * 1024


class Finished:
    """The predictions of an API that are over, by their ids. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Call] = OrderedDict()
        self._bytes = 0

    def keep(self, call: Call, result: Result) -> None:
        """Remember a call, and forget what there is no room for any more."""
        call.body = b""
        if result.output:
            call.chunks = []
        before = self._kept.pop(call.id, None)
        if before is not None and before.result is not None:
            self._bytes -= _size(before, before.result)
        self._kept[call.id] = call
        self._bytes += _size(call, result)
        # The newest stays whatever its size: somebody is about to ask for it.
        while len(self._kept) > KEPT_COUNT or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
            self._forget_oldest()

    def find(self, id_: str) -> Call | None:
        """The prediction of this id, if it was finished not long ago."""
        self._forget_old()
        return self._kept.get(id_)

    def all(self) -> list[Call]:
        """Every prediction that is remembered."""
        self._forget_old()
        return list(self._kept.values())

    def _forget_old(self) -> None:
        horizon = time.time() - KEPT_SECONDS
        while self._kept and (next(iter(self._kept.values())).finished or 0.0) < horizon:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _id, call = self._kept.popitem(last=False)
        if call.result is not None:
            self._bytes -= _size(call, call.result)


def _size(call: Call, result: Result) -> int:
    events = sum(len(event.data) for event in call.history or ())
    return 1024 + len(call.input) + len(result.output) + len(result.logs) + sum(map(len, call.chunks)) + events
