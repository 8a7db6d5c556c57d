"""What a client sends to start a job, checked in Cortex's words (its ``job`` errors of 0.32)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lading.jobs.batches import ListingError, in_batches, lines_of, list_files
from lading.jobs.json_items import JsonError, read_fields, read_items
from lading.jobs.store import Item

_WAYS = ("item_list", "file_path_lister", "delimited_files")
_BATCH_KEYS = ("workers", "timeout", "config", "sqs_dead_letter_queue", *_WAYS)
_TASK_KEYS = ("workers", "timeout", "config")
_MOST_WORKERS = 1000


class SubmissionError(ValueError):
    """The submission is refused. ``kind`` is a stable name, the message is for the client."""

    def __init__(self, message: str, kind: str = "job.invalid_submission") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job as it was asked for; ``fields`` without the items. ``attempts`` is the dead-letter queue's ``max_receive_count``."""

    fields: Mapping[str, Any]
    workers: int = 1
    timeout: float | None = None
    attempts: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)


def read_batch(path: Path) -> Submission:
    """The submission of a BatchAPI in a file; nothing is listed yet.

    Raises:
        SubmissionError: for what is wrong with it.
    """
    fields = _fields(path, _BATCH_KEYS)
    ways = [way for way in _WAYS if fields.get(way) is not None]
    if len(ways) != 1:
        names = "item_list, file_path_lister, or delimited_files"
        if ways:
            raise SubmissionError(f"please specify either the {' or '.join(ways)} field (but not more than one at the same time)")
        raise SubmissionError(f"specify exactly one of the following keys: {names}", "job.specify_exactly_one_key")
    workers = _whole(fields, "workers", required=True, most=_MOST_WORKERS)
    _check_way(fields[ways[0]], ways[0])
    queue = fields.get("sqs_dead_letter_queue")
    attempts: int | None = 1
    if queue is not None:
        inside = _map(queue, "sqs_dead_letter_queue")
        attempts = _whole(inside, "max_receive_count", "sqs_dead_letter_queue: ", required=True)
    common = _common(fields)
    return Submission(fields=fields, workers=workers or 1, attempts=attempts or 1, **common)


def read_task(path: Path) -> Submission:
    """The submission of a TaskAPI in a file; an empty one asks for nothing special.

    Raises:
        SubmissionError: for what is wrong with it.
    """
    fields = _fields(path, _TASK_KEYS) if path.stat().st_size else {}
    workers = _whole(fields, "workers", required=False)
    if workers not in (None, 1):
        raise SubmissionError(f"workers: must be equal to 1 for TaskAPI (got {workers})")
    return Submission(fields=fields, **_common(fields))


def batches_of(submission: Submission, path: Path, root: Path) -> Iterator[Item]:
    """The items of a submission, in its batches.

    Raises:
        SubmissionError: if files cannot be listed or read, or there are none.
    """
    fields = submission.fields
    way = next(one for one in _WAYS if fields.get(one) is not None)
    size = int(fields[way]["batch_size"])
    count = 0
    try:
        for item in in_batches(_texts(way, fields[way], path, root), size):
            count += 1
            yield item
    except (ListingError, JsonError) as error:
        raise SubmissionError(str(error), "job.enqueue_failed") from error
    if not count:
        what = "item_list: items: cannot be empty" if way == "item_list" else "no s3 files match search criteria"
        raise SubmissionError(what, "job.no_items")


def _texts(way: str, given: Mapping[str, Any], path: Path, root: Path) -> Iterator[str]:
    if way == "item_list":
        yield from read_items(path)
        return
    files = matching(given, root)
    yield from lines_of(files) if way == "delimited_files" else (_quoted(file) for file in files)


def _quoted(text: str) -> str:
    import json  # noqa: PLC0415 - this alone needs it

    return json.dumps(text)


def matching(given: Mapping[str, Any], root: Path) -> Iterator[str]:
    """The files that a ``file_path_lister`` or ``delimited_files`` means."""
    return list_files(given["s3_paths"], given.get("includes") or (), given.get("excludes") or (), root)


def files_of(submission: Submission, root: Path) -> list[str] | None:
    """What a dry run shows: the files; None for a list of items.

    Raises:
        SubmissionError: if they cannot be listed, or there are none.
    """
    given = submission.fields.get("file_path_lister") or submission.fields.get("delimited_files")
    if given is None:
        if not submission.fields["item_list"]["items"]:
            raise SubmissionError("item_list: items: cannot be empty", "job.no_items")
        return None
    try:
        files = list(matching(given, root))
    except ListingError as error:
        raise SubmissionError(str(error), "job.enqueue_failed") from error
    if not files:
        raise SubmissionError("no s3 files match search criteria", "job.no_items")
    return files


def _fields(path: Path, known: tuple[str, ...]) -> dict[str, Any]:
    try:
        fields = read_fields(path)
    except JsonError as error:
        raise SubmissionError(str(error), "job.invalid_json") from error
    for key in fields:
        if key not in known:
            raise SubmissionError(f'key "{key}" is not supported')
    return fields


def _common(fields: Mapping[str, Any]) -> dict[str, Any]:
    config = fields.get("config")
    return {"timeout": _whole(fields, "timeout", required=False), "config": {} if config is None else _map(config, "config")}


def _check_way(given: Any, way: str) -> None:
    inside = _map(given, way)
    known = ("items", "batch_size") if way == "item_list" else ("s3_paths", "includes", "excludes", "batch_size")
    for key in inside:
        if key not in known:
            raise SubmissionError(f'{way}: key "{key}" is not supported')
    _whole(inside, "batch_size", f"{way}: ", required=True)
    if way == "item_list":
        if not isinstance(inside.get("items"), int):
            raise SubmissionError(
                "item_list: items: must be defined" if "items" not in inside else "item_list: items: invalid type (expected a list)"
            )
        return
    for key in ("s3_paths", "includes", "excludes"):
        value = inside.get(key)
        if value is None and key != "s3_paths":
            continue
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value) or (key == "s3_paths" and not value):
            raise SubmissionError(f"{way}: {key}: " + ("must be defined" if value is None else "invalid type (expected a list of strings)"))


def _map(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SubmissionError(f"{name}: invalid type (expected a map)")
    return value


def _whole(fields: Mapping[str, Any], key: str, where: str = "", *, required: bool, most: int | None = None) -> int | None:
    value = fields.get(key)
    if value is None:
        if required:
            raise SubmissionError(f"{where}{key}: must be defined")
        return None
    if type(value) is not int:
        raise SubmissionError(f"{where}{key}: invalid type (expected integer)")
    if value < 1:
        raise SubmissionError(f"{where}{key}: must be greater than or equal to 1 (got {value})")
    if most is not None and value > most:
        raise SubmissionError(f"{where}{key}: must be less than or equal to {most} (got {value})")
    return value
