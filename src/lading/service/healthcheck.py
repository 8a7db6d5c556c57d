"""The health check of an image: exit status 0 when predictions are taken. ``python -m lading.service.healthcheck``."""

from __future__ import annotations

import http.client
import json
import os
import sys

_SECONDS = 4


def main() -> int:
    """Ask ``/health-check`` of the server on ``PORT``."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 5000), timeout=_SECONDS)
    try:
        connection.request("GET", "/health-check")
        status = json.loads(connection.getresponse().read()).get("status")
    except (OSError, http.client.HTTPException, ValueError):
        return 1
    finally:
        connection.close()
    return 0 if status in ("READY", "BUSY") else 1


if __name__ == "__main__":
    sys.exit(main())
