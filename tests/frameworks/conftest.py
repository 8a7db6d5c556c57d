"""One set of indexes for all scenarios: PyTorch's as of the dated table and a release of tomorrow, a registry, and mirrors of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lading.frameworks.places import base
from lading.model.secrets import SecretUrl
from lading.resolvers.listings import Door
from tests.support.index import LocalIndex
from tests.support.ports import free_port
from tests.support.pytorch import PyTorch

TOMORROW = ("3.12", "3.13", "3.14", "3.15")


@dataclass(frozen=True)
class World:
    """The indexes of the scenarios. ``mirrors`` has the folder by the name that scenarios use."""

    index: LocalIndex
    mirrors: dict[str, str]
    cache: Path

    def door(self, kind: str, root: Path) -> Door:
        """How a scenario reaches PyTorch's indexes."""
        address = {base(): SecretUrl(self.mirrors[kind])}
        return Door(address=address, root=root, cache=self.cache / kind, timeout=30.0)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The indexes, running."""
    with LocalIndex() as index:
        whole = PyTorch(index)
        whole.add_table()
        _tomorrow(whole)
        _companions(whole)
        labels_only = PyTorch(index, "labels")
        labels_only.add_table(("1.7.1", "1.11.0", "2.4.1", "2.12.0", "2.14.1"))
        index["labels"].parts.clear()
        _registry(index)
        _own(index)
        nowhere = f"http://127.0.0.1:{free_port()}/whl"
        mirrors = {"pytorch": whole.url, "labels-only": labels_only.url, "out-of-reach": nowhere}
        yield World(index, mirrors, tmp_path_factory.mktemp("copies"))


def _tomorrow(pytorch: PyTorch) -> None:
    """A release that no table knows."""
    for label in ("cpu", "cu132", "cu134"):
        pytorch.build("torch", "2.16.0", label, pythons=TOMORROW)
        pytorch.build("torchvision", "0.30.0", label, pythons=TOMORROW, requires=["torch==2.16.0"])
    PyTorch(pytorch.index, f"{pytorch.base}/nightly").build("torch", "2.17.0.dev20261120", "cu132", pythons=TOMORROW)


def _companions(pytorch: PyTorch) -> None:
    for label in ("cu121", "cu124"):
        pytorch.build("xformers", "0.0.28", label, pythons=("3.10", "3.11"), requires=["torch==2.5.1"])
    pytorch.build("torchtext", "0.18.0", "cpu", pythons=("3.9", "3.10", "3.11"))
    pytorch.add("triton", "3.1.0", pythons=("3.11",))
    pytorch.add("numpy", "1.20.0", "cpu", pythons=())


def _registry(index: LocalIndex) -> None:
    for version in ("1.24.4", "1.26.4", "2.3.4"):
        index.add("numpy", version)
    index.add("typing-extensions", "4.12.0")
    for version in ("1.4.0", "1.7.1", "1.11.0", "2.4.1", "2.12.0", "2.14.1"):
        index.add("torch", version, requires=["nvidia-cuda-runtime"])
    index.add("nvidia-cuda-runtime", "13.0.1")
    index.add("transformers", "4.50.0", requires=["numpy"], extras={"torch": ["torch>=2.0"]})
    index.add("ultralytics", "8.3.0", requires=["torch>=1.8", "torchvision>=0.9"])
    index.add("oldtool", "1.0", requires=["torch==2.0.1"])
    index.add("torchtext", "0.18.0")
    index.add("xformers", "0.0.28", requires=["torch==2.5.1"])
    index.add("triton", "3.1.0")
    for name in ("tensorflow", "tensorflow-cpu"):
        for version in ("2.8.0", "2.12.0", "2.15.0", "2.16.1", "2.21.0"):
            index.add(name, version, extras={"and-cuda": ["nvidia-cuda-runtime"]} if name == "tensorflow" else None)
    index.add("tensorflow-gpu", "1.14.0")
    index.add("tf-bridge", "1.0", requires=["tensorflow>=2"])
    index.add("jax", "0.4.30", extras={"cuda12": ["nvidia-cuda-runtime"]})
    index.add("jax", "0.12.0", extras={"cuda13": ["nvidia-cuda-runtime"]})
    for name in ("onnxruntime", "onnxruntime-gpu"):
        index.add(name, "1.28.0")


def _own(index: LocalIndex) -> None:
    """Indexes of the user's own: one with torch, one without."""
    index.add("torch", "2.4.1+corp", to="own")
    index.add("corp-tools", "1.0", to="own")
    index.add("corp-tools", "1.0", to="tools")
