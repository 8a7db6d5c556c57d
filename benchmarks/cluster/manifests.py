"""What rendering the Kubernetes manifests of 1,000 APIs costs: as objects, as YAML, and the snapshot that a revision keeps.

    python benchmarks/cluster/manifests.py [--apis N] [--rounds N]

The goal is one second for all of it: 1,000 RealtimeAPIs of one cortex.yaml, each with a Service, a Deployment, a PodDisruptionBudget and an
autoscaler. Times are of the processor, so that other work on the machine shows less. Reading the cortex.yaml is shown beside it and is no part of it. `json.dumps` of the same objects is the floor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lading import pipeline
from lading.deploy.bundle import portable
from lading.deploy.engine import Deployment
from lading.deploy.kubernetes_api import revealed
from lading.deploy.kubernetes_files import as_yaml
from lading.deploy.kubernetes_render import render
from lading.deploy.kubernetes_revisions import snapshot
from lading.deploy.kubernetes_shape import Settings

GOAL_SECONDS = 1.0
API = """\
- name: api-{number}
  kind: RealtimeAPI
  predictor: {{type: python, path: predictor.py}}
  compute: {{cpu: 500m, mem: 1Gi}}
  autoscaling: {{min_replicas: 1, max_replicas: 10}}
"""


def project(folder: Path, apis: int) -> Deployment:
    """A project of so many APIs, as a deployment of an image."""
    (folder / "cortex.yaml").write_text("".join(API.format(number=number) for number in range(apis)))
    (folder / "requirements.txt").write_text("")
    (folder / "predictor.py").write_text(
        "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n"
    )
    read = pipeline.read(pipeline.Options(directory=folder))
    return Deployment(name="many", service=portable(read), image="registry.example/many@sha256:" + "0" * 64)


def seconds(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """The median of some rounds, and what the last one gave."""
    took = []
    for _ in range(rounds):
        before = time.process_time()
        made = work()
        took.append(time.process_time() - before)
    return statistics.median(took), made


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apis", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reading, deployment = seconds(lambda: project(Path(folder), arguments.apis), 1)
    rendering, objects = seconds(lambda: render(deployment, Settings()), arguments.rounds)
    writing, text = seconds(lambda: as_yaml(objects), arguments.rounds)
    packing, kept = seconds(lambda: snapshot("many", 1, "", objects, None), arguments.rounds)
    floor, _ = seconds(lambda: json.dumps(revealed(objects)), arguments.rounds)
    assert len(objects) == 4 * arguments.apis
    assert text.count("\n---\n") == len(objects) - 1
    print(f"{arguments.apis} APIs, {len(objects)} objects, {len(text) / 1e6:.1f} MB of YAML, median of {arguments.rounds}:")
    print(f"  read cortex.yaml         {reading:7.3f} s")
    print(f"  render                   {rendering:7.3f} s")
    print(f"  write as YAML            {writing:7.3f} s")
    print(f"  pack into a snapshot     {packing:7.3f} s   {len(kept['data']['objects']) / 1e3:.0f} kB")
    print(f"  json.dumps of the same   {floor:7.3f} s")
    total = rendering + writing
    print(f"rendered and written in {total:.2f} s: the goal of {GOAL_SECONDS:g} s is {'met' if total <= GOAL_SECONDS else 'NOT met'}")


if __name__ == "__main__":
    main()
