"""Tasks of an event loop that end what they have begun."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_its_end(work: Coroutine[Any, Any, Any]) -> Any:
    """What work gives. It goes on however often who waits for it is canceled, and a cancelation counts when it has ended.

    What is canceled when it is stopped is canceled once more when its server ends, and that must not leave workers behind which were being
    stopped.
    """
    task, canceled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            canceled = error
    if canceled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen: the cancelation comes first
    raise canceled
