"""The answers to the attempts of one request at a gateway, and which of them are believed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from http import HTTPStatus

from lading.service.asgi import OWN_ERROR, Budget
from lading.service.upstreams import Answer, Sent, Upstream

_READING = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_AGAIN = frozenset((500, 502, 503, 504))
"""Answers that another server, or the same one later, may improve on."""
_FAILURES = frozenset((500, 504))
"""Those that are the predictor's where a server of ours marks them as its own. Ray's ingress says 500 too, for whatever is not there."""
_NO_ROUTE = b"for available routes."
"""What Ray's ingress ends its 404 with; a node that has just started says it until it has been told of its routes."""
_TRIES = 4
"""After so many a server's own failure stands, its own 503 to a GET (probes ask for that one), and one that says when to come again."""
_LONGEST_RETRY = 10.0
"""Seconds; a server that wants to be left alone for longer is asked again all the same."""
_NOWHERE_SECONDS = 8.0
"""After so long a path stands as one that is nowhere, if nothing else was said of it."""


class Share:
    """What one body takes of the room for all of them."""

    def __init__(self, room: Budget) -> None:
        self._room, self._size = room, 0

    def take(self, size: int) -> None:
        """Take more.

        Raises:
            NoRoomError: if there is not so much left.
        """
        self._room.take(size)
        self._size += size

    def give_back(self) -> None:
        """Give all of it back; a second time does nothing."""
        self._room.give(self._size)
        self._size = 0


@dataclass(slots=True)
class Whole:
    """An answer, and what was read of its body: all of it (``complete``), or the rest is still to come. ``share`` is its share of the room."""

    answer: Answer
    begun: bytes = b""
    complete: bool = False
    share: Share | None = None

    def drop(self) -> None:
        """It is needed no more."""
        self.answer.end()
        if self.share is not None:
            self.share.give_back()

    @property
    def improvable(self) -> bool:
        """Whether another server may have a better one."""
        return self.answer.status in _AGAIN or self.unrouted

    @property
    def unrouted(self) -> bool:
        """Whether it is Ray's ingress that knows no such path, and no server of ours."""
        return self.answer.status == HTTPStatus.NOT_FOUND and self.begun.endswith(_NO_ROUTE)

    @property
    def own(self) -> bool:
        """Whether a server of ours says so itself, and no ingress in front of it."""
        return OWN_ERROR in self.answer.headers

    @property
    def retry_after(self) -> float | None:
        """In how many seconds it says that it may be asked again; None if it does not."""
        value = dict(self.answer.headers).get(b"retry-after", b"")
        return min(_LONGEST_RETRY, int(value[:9])) if value.isdigit() else None


class Refusals:
    """The answers to one request that may be improved on, and whether they are to be believed in the end.

    What an ingress says of servers that it does not reach is not: they may be back before the request's deadline. ``last`` is the last
    one that was read to its end, for the client if there is nothing better when the deadline comes.
    """

    def __init__(self, sent: Sent) -> None:
        self.last: Whole | None = None
        self._reading, self._own, self._nowhere_since = sent.method in _READING, 0, math.inf
        self._again: dict[Upstream, float] = {}
        self._counts_from = 0.0

    def believed(self, whole: Whole) -> bool:
        """Whether one more such answer is the one that the client gets."""
        if whole.unrouted:
            self._nowhere_since = min(self._nowhere_since, time.monotonic())
            return time.monotonic() - self._nowhere_since >= _NOWHERE_SECONDS
        self._nowhere_since = math.inf
        self._own += whole.own and self._counts(whole)
        return self._own >= _TRIES

    def _counts(self, whole: Whole) -> bool:
        """Whether an own answer is one more for its being believed: of those that say when to ask again, one in that time."""
        if self._reading or whole.answer.status in _FAILURES:
            return True
        now, seconds = time.monotonic(), whole.retry_after
        if seconds is None:
            return False
        self._again[whole.answer.upstream] = now + seconds
        if now < self._counts_from:
            return False
        self._counts_from = now + seconds
        return True

    def keep(self, whole: Whole) -> None:
        """An answer that is not the one yet; a path that is unknown to one node says nothing of the others."""
        if whole.complete and not whole.unrouted:
            whole.answer.end()
            self.drop()
            self.last = whole
        else:
            whole.drop()

    def drop(self) -> None:
        """The last answer is needed no more."""
        if self.last is not None:
            self.last.drop()

    def rest(self, upstream: Upstream) -> float:
        """For how many seconds more a server wants to be left alone."""
        return self._again.get(upstream, 0.0) - time.monotonic()
