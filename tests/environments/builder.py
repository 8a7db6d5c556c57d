"""A process that builds one environment: ``python -m tests.environments.builder JOB``. Prints events and the outcome, a JSON object a line."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from lading.environments.interpreters import probe_named
from lading.environments.store import create_environment
from lading.locks.lockfile import read
from lading.model.events import Event
from lading.model.problems import LadingError
from tests.support.plans import plan_of


def main() -> int:
    job = json.loads(sys.argv[1])

    def tell(record: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()

    def heard(event: Event) -> None:
        tell({"step": event.step, "phase": str(event.phase), "message": event.message})

    try:
        lock = read(job["lock"], "pylock.lading.toml", validate=False)
        environment = create_environment(lock, job["lock"], probe_named(job["python"]), Path(job["root"]), plan=plan_of(), reporter=heard)
    except LadingError as error:
        tell({"problems": [problem.as_json() for problem in error.problems]})
        return int(error.exit_code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tell({"interrupted": True})
        return 130
    tell(environment.as_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
