"""A requirement of ``.``: the project's own package, editable where it is served."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_lock_options import PREDICTOR, locked
from tests.support.command import lading, write_files
from tests.support.wheels import project


def test_it_is_locked_as_it_is_written_and_editable_in_the_environment(tmp_path: Path):
    folder = write_files(tmp_path / "model", {**project("mine", "0.1"), "predict.py": PREDICTOR, "requirements.txt": ".\n"})
    ran = lading("install", folder, "--json")
    assert ran.code == 0, ran.err
    assert locked(folder)["packages"][0]["directory"] == {"path": "."}
    environment = Path(ran.data["environments"][0]["path"])
    (direct,) = environment.glob("lib/python*/site-packages/mine-0.1.dist-info/direct_url.json")
    assert '"editable":true' in direct.read_text().replace(" ", "")
    assert lading("lock", folder, "--check").code == 0


def test_a_build_that_cannot_do_that_is_installed_as_written(tmp_path: Path):
    files = project("mine", "0.1")
    files["own_backend.py"] = (
        files["own_backend.py"]
        .replace("build_editable = build_wheel\n", "")
        .replace("prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel\n", "")
    )
    folder = write_files(tmp_path / "model", {**files, "predict.py": PREDICTOR, "requirements.txt": ".\n"})
    ran = lading("install", folder, "--json")
    assert ran.code == 0, ran.err
    environment = Path(ran.data["environments"][0]["path"])
    (direct,) = environment.glob("lib/python*/site-packages/mine-0.1.dist-info/direct_url.json")
    assert "true" not in direct.read_text()
