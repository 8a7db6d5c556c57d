"""Credentials that stand in a file are used, shown nowhere, and reported with the fix."""

from __future__ import annotations

import pytest

from lading.formats import requirements_txt
from lading.model.decisions import Decision
from lading.model.files import MemoryFiles
from lading.planner.credentials import credential_decisions

SECRET = "s3cret-token"


def told(text: str, **environ: str) -> tuple[Decision, ...]:
    declaration = requirements_txt.parse("requirements.txt", MemoryFiles({"requirements.txt": text}), environ)
    return credential_decisions(declaration.requirements, declaration.options, declaration.bound, declaration.path)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (f"--index-url https://bob:{SECRET}@host/simple", "https://${INDEX_USER}:${INDEX_TOKEN}@host/..."),
        (f"--extra-index-url https://{SECRET}@host/simple", "https://${INDEX_TOKEN}@host/..."),
        (f"-f https://bob:{SECRET}@host/links", "https://${INDEX_USER}:${INDEX_TOKEN}@host/..."),
        (f"corp --index-url https://bob:{SECRET}@host/simple", "https://${INDEX_USER}:${INDEX_TOKEN}@host/..."),
        (f"corp @ https://bob:{SECRET}@host/corp-1.0.tar.gz", "https://${INDEX_USER}:${INDEX_TOKEN}@host/..."),
        (f"corp @ git+https://{SECRET}@host/corp.git@v1", "git+https://${INDEX_TOKEN}@host/..."),
        (f"git+https://bob:{SECRET}@host/corp.git#egg=corp", "git+https://${INDEX_USER}:${INDEX_TOKEN}@host/..."),
    ],
)
def test_each_place_of_a_credential_is_reported_with_the_fix(line: str, instead: str):
    (decision,) = told(line)
    assert decision.rule == "credentials-in-file"
    assert str(decision.origin).startswith("requirements.txt")
    assert (decision.instead or "").startswith(instead)
    assert SECRET not in str(decision.as_json()) + repr(decision)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://bob:${TOKEN}@host/simple",
        "corp @ git+https://${TOKEN}@host/corp.git",
        "corp @ git+ssh://git@host/corp.git",
        "--index-url https://host/simple",
        "corp",
    ],
)
def test_variables_and_plain_addresses_are_nothing_to_report(line: str):
    assert told(line, TOKEN=SECRET) == ()
