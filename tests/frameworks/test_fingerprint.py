"""A lock is compared with what was declared, not with where builds were looked up: tables, listings and mirrors make none stale."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lading.frameworks import Offers
from lading.frameworks.offers import Listing, Status
from lading.frameworks.places import every_build
from lading.model.files import MemoryFiles
from lading.model.plan import Plan
from lading.model.target import Gpu, Machine, Target
from lading.planner.find import find_config
from lading.planner.make import Known, make_plan
from lading.planner.sources import choose_sources
from tests.frameworks.test_properties import listing
from tests.planner.planning import PREDICT

CPU = Target(python="3.11.7", platform="x86_64-manylinux_2_36", accelerator="cpu")
GPU = Target(python="3.11.7", platform="x86_64-manylinux_2_36", accelerator="cu132")
BUILDS = [("2.4.1", label, "3.11", "linux_x86_64") for label in ("cpu", "cu118")]
LISTED = Offers(
    pages={every_build(name): Listing(status=Status.READ, files=tuple(listing(BUILDS, name))) for name in ("torch", "torchaudio")}
)
SILENT = Offers(pages={every_build("torch"): Listing(status=Status.UNREACHABLE, why="no route")})
KNOWN = {
    "nothing": None,
    "the index": Known(offers=LISTED),
    "no index": Known(offers=SILENT),
    "a GPU": Known(machine=Machine(driver="590.1", gpus=(Gpu("GTX 1080", "6.1"),))),
    "an accelerator that was asked for": Known(explicit=True),
    "the declaration alone": Known(choosing=False),
}


def planned(text: str, target: Target, known: Known | None = None, environ: Mapping[str, str] | None = None) -> Plan:
    files = MemoryFiles({"predict.py": PREDICT, "requirements.txt": text})
    config = find_config(files, None, environ or {})
    (chosen,) = choose_sources(config, files, environ or {})
    return make_plan(config, chosen, target, files, environ or {}, known=known)


@pytest.mark.parametrize("target", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    "text",
    [
        "torch==2.4.1\n",
        "torch\n",
        "torch==2.4.1+cu118\n",
        "tensorflow==2.15.0\n",
        "--extra-index-url https://download.pytorch.org/whl/cu118\ntorch==2.4.1\n",
    ],
)
def test_where_builds_were_looked_up_does_not_count(text: str, target: Target):
    assert len({planned(text, target, known).fingerprint for known in KNOWN.values()}) == 1


@pytest.mark.parametrize("address", ["", "https://mirror.example/whl", "http://user:word@127.0.0.1:9/pytorch"])
def test_a_mirror_does_not_count_and_stays_out_of_the_plan(address: str):
    plan = planned("torch==2.4.1\n", CPU, environ={"LADING_TORCH_INDEX": address})
    assert plan.fingerprint == planned("torch==2.4.1\n", CPU).fingerprint
    assert plan.as_json() == planned("torch==2.4.1\n", CPU).as_json()


def test_what_is_declared_counts_and_so_do_the_target_and_the_switch():
    plans = [
        planned("torch==2.4.1\n", CPU),
        planned("torch==2.4.0\n", CPU),
        planned("torch==2.4.1+cpu\n", CPU),
        planned("torch==2.4.1\n", GPU),
        planned("torch==2.4.1\n", CPU, environ={"LADING_TORCH_INDEX": "off"}),
        planned("--extra-index-url https://download.pytorch.org/whl/cu118\ntorch==2.4.1\n", CPU),
    ]
    assert len({plan.fingerprint for plan in plans}) == len(plans)
