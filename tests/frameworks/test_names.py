"""The names and the outcome that stand for tables and mechanisms which are not loaded are theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading.frameworks import Context, choose_builds, mechanisms, pages, wanted
from lading.frameworks.names import BY_NAME, PYTORCH
from lading.frameworks.tables import table
from lading.model.origin import Origin
from lading.model.requirements import Declared, IndexOptions
from lading.model.secrets import SecretText, SecretUrl
from lading.model.target import Target

PLATFORMS = (
    "x86_64-manylinux_2_36",
    "aarch64-manylinux_2_17",
    "x86_64-unknown-linux-musl",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
OPTIONS = (
    IndexOptions(),
    IndexOptions(no_index=True),
    IndexOptions(index_url=SecretUrl("https://corp.example/simple")),
    IndexOptions(extra_index_urls=(SecretUrl("https://corp.example/simple"),)),
    IndexOptions(extra_index_urls=(SecretUrl("https://download.pytorch.org/whl/cu121"),)),
    IndexOptions(find_links=(SecretUrl("https://corp.example/links"),)),
)
ORDINARY = tuple(Declared(raw=SecretText(name), origin=Origin("requirements.txt", 1), name=name) for name in ("flask", "numpy"))


def test_the_names_are_those_of_the_table():
    rows = table("names")["framework"]
    listed = {name for row in rows for name in (*row["cpu"], *row["gpu"], *([row["source"]] if "source" in row else []))}
    assert listed == BY_NAME


def test_the_address_is_that_of_the_table():
    assert table("torch")["index"]["base"] == PYTORCH


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("accelerator", ["cpu", "cu126"])
@pytest.mark.parametrize("off", [False, True])
def test_without_a_framework_the_outcome_is_that_of_the_mechanisms(platform: str, accelerator: str, *, off: bool):
    target = Target(python="3.11.7", platform=platform, accelerator=accelerator)
    for options in OPTIONS:
        context = Context(target=target, options=options, off=off)
        assert choose_builds(ORDINARY, context) == mechanisms.choose(ORDINARY, context), options
        assert wanted(ORDINARY, context) == pages.wanted(ORDINARY, context), options


def test_without_a_framework_no_table_is_read():
    code = (
        "import sys; from lading.frameworks import Context, choose_builds; from lading.model.target import Target\n"
        "choose_builds((), Context(target=Target(python='3.11.7', platform='x86_64-manylinux_2_36')))\n"
        "assert not {'packaging.version', 'tomllib', 'lading.frameworks.torch'} & sys.modules.keys(), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
