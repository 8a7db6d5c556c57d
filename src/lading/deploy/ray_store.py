"""What Lading keeps in a Ray cluster: bundles, the revisions of deployments, and their secrets, in the store of the cluster's head.

With Redis behind the head it outlives the head's death. Ray's own packages (``working_dir``) lie at the same place, with the same limit.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from lading.model.problems import ExitCode, LadingError, Problem

LARGEST = 512 << 20
"""Bytes of a bundle; as of Ray's own packages."""
_PIECE = 4 << 20
PATIENCE = 30.0
"""Seconds that a change of a deployment waits for one that is under way: most take a moment."""
_POLL_SECONDS = 0.2
_STALE_SECONDS = 300.0
_RENEW_SECONDS = 15.0
_SPACE = b"lading"


def _kv() -> Any:
    from ray.experimental import internal_kv  # noqa: PLC0415 -- an extra

    return internal_kv


def _get(key: str) -> bytes | None:
    found: bytes | None = _kv()._internal_kv_get(key.encode(), namespace=_SPACE)  # noqa: SLF001 -- it has no public name
    return found


def _put(key: str, value: bytes) -> None:
    _kv()._internal_kv_put(key.encode(), value, overwrite=True, namespace=_SPACE)  # noqa: SLF001 -- as above


def _put_new(key: str, value: bytes) -> bool:
    """Whether the key was free, and is now taken."""
    return not _kv()._internal_kv_put(key.encode(), value, overwrite=False, namespace=_SPACE)  # noqa: SLF001 -- as above


def _keys(prefix: str) -> list[str]:
    return sorted(key.decode() for key in _kv()._internal_kv_list(prefix.encode(), namespace=_SPACE))  # noqa: SLF001 -- as above


def _delete(key: str) -> None:
    _kv()._internal_kv_del(key.encode(), namespace=_SPACE)  # noqa: SLF001 -- as above


@contextlib.contextmanager
def changing(name: str, patience: float = PATIENCE) -> Iterator[Callable[[], None]]:
    """The sole right to change a deployment; others are waited for so many seconds. What a killed process held is free again after some minutes.

    Whoever has it for long calls what it is given, again and again: the minutes begin anew.

    Raises:
        LadingError: if somebody else still has it then, or got it since.
    """
    key, mine = f"changing/{name}", _new_holder()
    until = time.monotonic() + patience
    while (since := _held_since(key, mine)) is not None:
        if time.monotonic() >= until:
            raise LadingError(_busy(name, since))
        time.sleep(_POLL_SECONDS)
        mine = _new_holder()

    def renew() -> None:
        nonlocal mine
        if time.time() - _since(mine) < _RENEW_SECONDS:
            return
        new = _new_holder()
        if not _pass_on(key, mine, new):
            raise LadingError(_busy(name, time.time()))
        mine = new

    try:
        yield renew
    finally:
        _pass_on(key, mine, _new_holder(), then_free=True)


def _new_holder() -> bytes:
    """A holder that there was none of before, and when it began, in seconds of the epoch."""
    return f"{time.time()} {uuid.uuid4()}".encode()


def _since(holder: bytes) -> float:
    return float(holder.split()[0])


def _held_since(key: str, mine: bytes) -> float | None:
    """Take a right, if it is free or was left behind; since when somebody else has it, in seconds of the epoch: None if it is ours now."""
    if _put_new(key, mine):
        return None
    holders = _holders(key)
    if not holders:  # given back since
        return time.time()
    since = _since(holders[-1])
    if time.time() - since >= _STALE_SECONDS:
        return None if _pass_on(key, holders[-1], mine) else time.time()
    return since


def _holders(key: str) -> list[bytes]:
    """Who has a right: the last of these. The others had it before, and are not cleared away yet."""
    found: list[bytes] = []
    holder = _get(key)
    while holder is not None:
        found.append(holder)
        holder = _get(_successor(key, holder))
    return found


def _successor(key: str, holder: bytes) -> str:
    return f"{key}/{holder.decode()}"


def _pass_on(key: str, seen: bytes, new: bytes, *, then_free: bool = False) -> bool:
    """Whether a right went from the holder that was seen to a new one: of several that try, to one. ``then_free``: nobody has it afterwards.

    The store compares no values, but takes a new key only once: each holder has one successor, under a key with its name. That goes when the
    right's own key names the new holder. Whoever finds it gone, and writes another one, does not follow from the right's own key any more.
    """
    if not _put_new(_successor(key, seen), new):
        return False
    holders = _holders(key)
    if new not in holders:
        _delete(_successor(key, seen))
        return False
    if holders[-1] != new:  # we were taken for one that was killed
        return False
    if then_free:
        _delete(key)
    else:
        _put(key, new)
    for holder in holders[:-1]:
        _delete(_successor(key, holder))
    return True


def _busy(name: str, since: float) -> Problem:
    free = max(1, round(_STALE_SECONDS - (time.time() - since)))
    return Problem(
        rule="deployment-changing",
        what=f"Somebody else is changing {name} on this cluster now.",
        instead=f"Try again when that is over; if it was killed, in {free} s.",
        code=ExitCode.DEPLOY,
    )


def write_bundle(digest: str, archive: IO[bytes], renew: Callable[[], None] = lambda: None) -> None:
    """Keep a bundle's archive, unless it is there; ``renew`` is called with every piece."""
    if _get(f"bundle/{digest}/pieces") is not None:
        return
    count = 0
    while piece := archive.read(_PIECE):
        _put(f"bundle/{digest}/{count}", piece)
        count += 1
        renew()
    _put(f"bundle/{digest}/pieces", str(count).encode())


def read_bundle(digest: str) -> Iterator[bytes]:
    """A bundle's archive, piece by piece.

    Raises:
        RuntimeError: if it is not there.
    """
    count = _get(f"bundle/{digest}/pieces")
    if count is None:
        raise RuntimeError(f"the cluster has no bundle {digest[:12]} any more; deploy the project again")
    for number in range(int(count)):
        piece = _get(f"bundle/{digest}/{number}")
        if piece is None:
            raise RuntimeError(f"a piece of the bundle {digest[:12]} is missing; deploy the project again")
        yield piece


def delete_bundle(digest: str) -> None:
    """Forget a bundle."""
    for key in reversed(_keys(f"bundle/{digest}/")):
        _delete(key)


def write_secrets(key: str, values: Mapping[str, str]) -> None:
    """Keep the values of secret variables, apart from what Serve and its dashboard show."""
    _put(f"secrets/{key}", json.dumps(dict(values)).encode())


def read_secrets(key: str) -> dict[str, str]:
    """The inverse of `write_secrets`; nothing where it is not there."""
    content = _get(f"secrets/{key}")
    return dict(json.loads(content)) if content else {}


def delete_secrets(key: str) -> None:
    """Forget them."""
    _delete(f"secrets/{key}")


def write_record(name: str, record: Mapping[str, Any]) -> None:
    """Keep what is known of a deployment."""
    _put(f"deployment/{name}", json.dumps(record).encode())


def read_record(name: str) -> dict[str, Any] | None:
    """What is known of a deployment; None if there is none."""
    content = _get(f"deployment/{name}")
    return None if content is None else dict(json.loads(content))


def delete_record(name: str) -> None:
    """Forget a deployment."""
    _delete(f"deployment/{name}")


def names() -> list[str]:
    """The deployments that there are."""
    return [key.removeprefix("deployment/") for key in _keys("deployment/")]
