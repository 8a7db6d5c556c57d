"""What the verbs that speak to a running server share."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.client import Client


def add_server(parser: argparse.ArgumentParser) -> None:
    """``--url``."""
    parser.add_argument("--url", metavar="URL", help="the server's address (default: that of the project in this folder, or LADING_URL)")


def connect(arguments: argparse.Namespace) -> Client:
    """A client of the server that the command line means."""
    from lading.client import client

    return client(arguments.directory or ".", arguments.url)


def read_input(path: str) -> bytes:
    """A file's content, or standard input's for ``-``.

    Raises:
        LadingError: if it cannot be read, or is no JSON.
    """
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}."
        raise LadingError(Problem(rule="input-file", what=what, instead="Name a JSON file, or - for standard input.")) from error
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LadingError(Problem(rule="input-invalid", what=f"{path} is not JSON: {error}.", instead="Correct the file.")) from error
    return content


def job_line(status: dict[str, Any]) -> str:
    """A job in one line, with Cortex's words."""
    metrics = status["batch_metrics"]
    done, total = metrics["succeeded"] + metrics["failed"], status["total_batch_count"]
    failed = f", {metrics['failed']} failed" if metrics["failed"] else ""
    word = status["status"].removeprefix("status_").replace("_", " ")
    return f"{status['job_id']}  {word:24}  {done}/{total} done{failed}" + (f"  ({status['error']})" if status.get("error") else "")
