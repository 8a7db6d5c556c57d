"""What Ray itself prints is no data of ours."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.ray.cluster import missing

PROGRAM = """
from lading.deploy.ray_session import _talk_apart, import_ray

ray = import_ray()
_talk_apart(ray)
# As Ray's thread does that listens to errors, when a process of a node was killed.
ray._private.worker.print_to_stdstream({"lines": ["A worker died"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
"""


def test_what_a_cluster_says_of_its_nodes_goes_to_standard_error():
    if (reason := missing()) is not None:
        pytest.skip(reason)
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (ran.stdout, "A worker died" in ran.stderr) == ("", True)
