"""What the tests of deployments share: projects, and the services that they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lading import pipeline
from lading.deploy.bundle import portable
from lading.deploy.engine import Deployment
from lading.model.project import ProjectConfig
from tests.support.command import write_files

IMAGE = "registry.example/iris@sha256:" + "1" * 64
OTHER = "registry.example/iris@sha256:" + "2" * 64
COG = {
    "cog.yaml": "build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n",
    "requirements.txt": "",
    "predict.py": "from cog import BasePredictor\n\n\nclass Predictor(BasePredictor):\n    def predict(self, text: str) -> str:\n        return text.upper()\n",
}
PREDICTOR = (
    "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n"
)
CORTEX = {
    "cortex.yaml": """\
- name: iris
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py, processes_per_replica: 2, threads_per_process: 4, shm_size: 64Mi}
  compute: {cpu: 500m, mem: 1Gi, gpu: 1}
  autoscaling: {min_replicas: 2, max_replicas: 8, init_replicas: 3, target_replica_concurrency: 6, window: 30s}
  update_strategy: {max_surge: 1, max_unavailable: 0}
- name: words
  kind: AsyncAPI
  predictor: {type: python, path: predictor.py}
- name: many
  kind: BatchAPI
  predictor: {type: python, path: predictor.py}
  compute: {cpu: 1}
- name: nightly
  kind: TaskAPI
  definition: {path: task.py}
""",
    "requirements.txt": "",
    "predictor.py": PREDICTOR,
    "task.py": "class Task:\n    def __call__(self, config):\n        print('done')\n",
}
SPLIT = {
    "cortex.yaml": """\
- name: a
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py}
- name: b
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py}
- name: other
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py}
- name: both
  kind: TrafficSplitter
  apis: [{name: a, weight: 90}, {name: b, weight: 10}]
""",
    "requirements.txt": "",
    "predictor.py": PREDICTOR,
}


def project_of(folder: Path, files: Mapping[str, str | bytes]) -> pipeline.Project:
    """A project in a folder, read."""
    return pipeline.read(pipeline.Options(directory=write_files(folder, files)))


def deployment_of(folder: Path, files: Mapping[str, str | bytes], name: str = "shop", **more: Any) -> Deployment:
    """A project as a deployment of an image."""
    project = project_of(folder, files)
    assert isinstance(project.config, ProjectConfig)
    return Deployment(name=name, service=portable(project), **{"image": IMAGE, **more})
