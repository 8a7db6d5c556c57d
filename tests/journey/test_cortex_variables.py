"""A private index that only the project's `.env` names, with its password: Cortex's users had it so."""

from __future__ import annotations

CONFIG = "- name: a\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py}\n"
PREDICTOR = """\
import private

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return private.__name__
"""


def test_packages_come_from_the_index_that_dotenv_names(project, lading, index):
    index.add("private", "1.0", to="ours")
    index.protect("ours", "ci", "s3cret-of-ours")
    url = index.url_of("ours", user="ci", password="s3cret-of-ours")
    files = {"cortex.yaml": CONFIG, "predictor.py": PREDICTOR, "requirements.txt": "private==1.0\n"}
    refused = lading("install", project(files, "without"))
    assert refused.code == 3
    folder = project({**files, ".env": f"PIP_EXTRA_INDEX_URL={url}\n"})
    installed = lading("install", folder)
    assert installed.code == 0, installed.err
    assert "variables-name-indexes" in installed.err
    assert "s3cret" not in installed.err + installed.out + (folder / "pylock.lading.toml").read_text()
    assert lading("install", folder, "--locked", LADING_HOME=str(folder.parent / "elsewhere")).code == 0  # the lock alone, with the .env
    answer = lading("predict", folder, "--json", "{}")
    assert answer.out == "private\n", answer.err
