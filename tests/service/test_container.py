"""The server of an image, started as its entry point is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from lading.model.project import ProjectKind
from lading.model.service import ServiceSpec
from lading.service.container import as_json


def start(tmp_path, spec: ServiceSpec, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it where it cannot listen, so that it ends by itself."""
    service = tmp_path / "service.json"
    service.write_text(json.dumps(as_json(spec)))
    environ = {**os.environ, "LADING_SERVICE": str(service), "LADING_HOST": "no.such.host.invalid", **variables}
    return subprocess.run(
        [sys.executable, "-m", "lading.service.container"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_variables_that_the_image_was_made_without_are_asked_for(tmp_path):
    spec = ServiceSpec(kind=ProjectKind.CORTEX, title="shout", apis=(), wanted=("DATABASE_URL", "TOKEN"))
    ran = start(tmp_path, spec, TOKEN="given")
    assert "warning: DATABASE_URL of the project's .env is not set; start with --env-file .env" in ran.stderr
    assert "TOKEN" not in ran.stderr
    assert (ran.returncode != 0, "Traceback" in ran.stderr) == (True, False)
    assert "warning" not in start(tmp_path, spec, TOKEN="given", DATABASE_URL="given").stderr
