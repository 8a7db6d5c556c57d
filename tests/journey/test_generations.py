"""Projects as people wrote them for Cog, in the older generation of its API and in the newer: they run as they are."""

from __future__ import annotations

import base64
import io
import threading
import time
import zipfile
from typing import Any

from tests.service.test_streams import EVENTS, read_events

OLDER = {
    "cog.yaml": """\
# Configuration for Cog
build:
  gpu: false
  python_version: "3.11"
  python_packages:
    - "shout==1.0"
predict: "predict.py:Predictor"
concurrency:
  max: 2
""",
    "lib/__init__.py": "",
    "lib/styles.py": """\
from enum import Enum
from typing import List

class Style(str, Enum):
    PLAIN = "plain"
    LOUD = "loud"

SIZES: List[int] = [64, 128, 256]
DEFAULT_SIZE = SIZES[1]
MAX_SEED = 2**32 - 1
""",
    "predict.py": '''\
# Prediction interface for Cog
import logging
import os
import tempfile
import warnings
from typing import Dict, List, Optional

import shout
from cog import BaseModel, BasePredictor, ConcatenateIterator, ExperimentalFeatureWarning, File, Input, Path, Secret, emit_metric
from cog.types import Weights
from lib.styles import DEFAULT_SIZE, MAX_SEED, SIZES, Style

warnings.filterwarnings("ignore", category=ExperimentalFeatureWarning)
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


class Output(BaseModel):
    picture: Path
    caption: Optional[str]
    scores: List[float]
    extra: Dict[str, int]


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Weights] = None) -> None:
        """Load the model into memory to make running multiple predictions efficient"""
        self.weights = weights
        self.cache = {}

    def predict(
        self,
        image: Path = Input(description="Grayscale input image"),
        mask: File = Input(description="What to leave alone", default=None),
        prompt: str = Input(description="What to paint", default="a boat", min_length=3, max_length=200),
        style: Style = Input(default=Style.PLAIN, description="How"),
        size: int = Input(description="Edge", choices=SIZES, default=DEFAULT_SIZE),
        guidance: float = Input(default=7.5, ge=1, le=20),
        seed: int = Input(description="Random seed. Leave blank to randomize the seed", default=None, ge=0, le=MAX_SEED),
        negatives: List[str] = Input(default=[]),
        token: Secret = Input(default=None, description="of the hub"),
    ) -> Output:
        """Run a single prediction on the model"""
        if seed is None:
            seed = int.from_bytes(os.urandom(2), "big")
        logging.info("Using seed: %s", seed)
        target = Path(tempfile.mkdtemp()) / "out.png"
        target.write_bytes(image.read_bytes()[::-1] + (mask.read() if mask else b""))
        emit_metric("pixels", size * size)
        caption = prompt.upper() if style == Style.LOUD else prompt
        secret = token.get_secret_value() if token else "none"
        return Output(picture=target, caption=caption, scores=[guidance], extra={"seed": seed, "negatives": len(negatives), "secret": len(secret)})
''',
}
NEWER = {
    "cog.yaml": 'build:\n  python_version: "3.12"\n  python_requirements: requirements.txt\nrun: run.py:Runner\n',
    "requirements.txt": "shout==1.0\n",
    "run.py": """\
from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, AsyncIterator, Literal, TypedDict

import cog
import shout
from cog import BaseRunner, Input, Opaque, current_scope


class Message(TypedDict, total=False):
    role: str
    content: str


@dataclass
class Piece:
    text: str
    index: int
    who: str | None = None


class Runner(BaseRunner):
    async def setup(self) -> None:
        await asyncio.sleep(0)
        self.running = self.most = 0
        self.sick = False

    async def healthcheck(self) -> bool:
        return not self.sick

    @cog.concurrent(max=4)
    @cog.streaming
    async def run(
        self,
        messages: list[Message] = Input(description="the conversation"),
        mode: Literal["fast", "good"] = "fast",
        pause: float = Input(default=0.0, ge=0, le=1),
        options: dict[str, int] | None = None,
        anything: Annotated[Any, Opaque] = None,
    ) -> AsyncIterator[Piece]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            who = current_scope().context.get("user")
            for index, word in enumerate(messages[-1]["content"].split()):
                yield Piece(text=word if mode == "fast" else word.title(), index=index, who=who)
                self.record_metric("words", 1, mode="incr")
                await asyncio.sleep(pause)
            current_scope().metrics["at_once.most"] = self.most
            self.sick = bool(options and options.get("sick"))
        finally:
            self.running -= 1
""",
}

# What people do to get their research code behind an API: a submodule that is not on any path, a zip unpacked where it came in, programs
# started, threads that hand over pictures, a working directory that is written to, variables set before an import.
RESEARCH = {
    "cog.yaml": """\
build:
  gpu: false
  python_version: "3.11"
  python_requirements: "requirements.txt"
  run:
    - "mkdir -p /root/.cache/torch"
predict: "predict.py:Predictor"
train: "train.py:train"
""",
    "requirements.txt": "shout==1.0\n",
    "vendor/diffusion/sampler.py": "import os\n\nHOME = os.environ['MODEL_HOME']\n\ndef steps(count):\n    for n in range(count):\n        yield b'P%d' % n\n",
    "vendor/diffusion/__init__.py": "",
    "weights.json": '{"gain": 3}',
    "train.py": """\
from cog import BaseModel, Input, Path

class TrainingOutput(BaseModel):
    weights: Path

def train(images: Path = Input(description="a zip"), steps: int = Input(default=2, ge=1)) -> TrainingOutput:
    Path("trained.bin").write_bytes(images.read_bytes() * steps)
    return TrainingOutput(weights=Path("trained.bin"))
""",
    "predict.py": """\
import glob, json, os, queue, shutil, subprocess, sys, threading, time, typing, zipfile
os.environ["MODEL_HOME"] = "/src/weights"
sys.path.append("vendor")
sys.path.insert(0, os.path.join(os.getcwd(), "vendor"))
print(f"[module] loading at t={time.time()}", flush=True)
sys.stdout.flush()
import shout
from diffusion import sampler
from cog import BasePredictor, BaseModel, Input, Path

MODELS = {"small": 1, "large": 2}
SCHEDULERS = sorted(["ddim", "plms"])

class CogOutput(BaseModel):
    file: Path
    name: typing.Optional[str] = None
    attributes: typing.Optional[dict] = None
    segments: typing.List[dict] = []
    isFinal: bool = False

class Predictor(BasePredictor):
    def setup(self):
        self.gain = json.load(open("weights.json"))["gain"]
        shutil.rmtree("outputs", ignore_errors=True)
        os.makedirs("outputs")

    def work(self, count):
        for picture in sampler.steps(count):
            self.pictures.put(picture)

    def predict(
        self,
        model: str = Input(description="which", choices=list(MODELS.keys()), default="small"),
        scheduler: str = Input(choices=SCHEDULERS, default=SCHEDULERS[0]),
        file_list: Path = Input(description="File list (.zip file)", default=None),
        steps: int = Input(default=3, ge=1, le=500, description="how many"),
        seed: int = Input(default=None),
    ) -> typing.Iterator[CogOutput]:
        names = []
        if file_list is not None:
            extracted = os.path.dirname(file_list)
            with zipfile.ZipFile(file_list, "r") as archive:
                archive.extractall(extracted)
                names = sorted(os.path.basename(name) for name in glob.glob(extracted + "/*.txt"))
        told = subprocess.run(["python3", "-c", "import shout; print('inside')"], check=True, capture_output=True, text=True).stdout.strip()
        os.system("echo from a shell")
        self.pictures = queue.SimpleQueue()
        thread = threading.Thread(target=self.work, args=(steps,), daemon=True)
        thread.start()
        for n in range(steps):
            path = f"outputs/{n}.png"
            with open(path, "wb") as out:
                out.write(self.pictures.get(timeout=5) * self.gain)
            yield CogOutput(file=Path(path), name=told, attributes={"names": names, "home": sampler.HOME}, segments=[{"n": n}], isFinal=n == steps - 1)
""",
}


def data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def test_the_older_generation_runs_as_it_is(project, served, index):
    index.add("shout", "1.0")
    with served(project(OLDER), COG_WEIGHTS="https://example.com/weights.tar") as service:
        asked = {
            "image": data_url(b"abc", "image/png"),
            "mask": data_url(b"!", "image/png"),
            "style": "loud",
            "seed": 7,
            "negatives": ["dark"],
            "token": "hf_secret",
        }
        answer = service.client.post("/predictions", json={"input": asked}).json()
        assert answer["status"] == "succeeded", answer
        assert answer["output"] == {
            "picture": data_url(b"cba!", "image/png"),
            "caption": "A BOAT",
            "scores": [7.5],
            "extra": {"seed": 7, "negatives": 1, "secret": 9},
        }
        assert answer["metrics"]["pixels"] == 128 * 128
        assert answer["logs"] == "INFO Using seed: 7\n"
        wrong = service.client.post("/predictions", json={"input": {"size": 100, "prompt": "x", "style": "soft", "guidance": 0}})
        assert {one["loc"][-1] for one in wrong.json()["detail"]} == {"image", "size", "prompt", "style", "guidance"}
        properties = service.client.get("/openapi.json").json()["components"]["schemas"]["Input"]["properties"]
        assert list(properties) == ["image", "mask", "prompt", "style", "size", "guidance", "seed", "negatives", "token"]
        assert properties["token"]["x-cog-secret"] is True


def test_the_newer_generation_runs_as_it_is(project, served, index):
    index.add("shout", "1.0")
    body: dict[str, Any] = {
        "input": {"messages": [{"role": "user", "content": "one two three"}], "mode": "good"},
        "context": {"user": "Ada"},
    }
    with served(project(NEWER)) as service:
        answer = service.client.post("/predictions", json=body).json()
        assert answer["output"] == [{"text": word, "index": index, "who": "Ada"} for index, word in enumerate(("One", "Two", "Three"))]
        assert answer["metrics"]["words"] == 3
        assert answer["metrics"]["at_once"]["most"] == 1
        began = time.monotonic()
        slow = {"input": {**body["input"], "pause": 0.4}}
        with service.client.stream("POST", "/predictions", json=slow, headers=EVENTS) as stream:
            arrivals = [(name, time.monotonic() - began) for name, _ in read_events(stream.iter_lines())]
        outputs = [seconds for name, seconds in arrivals if name == "output"]
        assert max(outputs[1] - outputs[0], outputs[2] - outputs[1]) > 0.2
        assert arrivals[-1][0] == "completed"

        together: list[dict[str, Any]] = []
        threads = [
            threading.Thread(target=lambda: together.append(service.client.post("/predictions", json=slow).json())) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(one["metrics"]["at_once"]["most"] for one in together) == 4

        assert service.client.get("/health-check").json()["status"] == "READY"
        service.client.post("/predictions", json={"input": {**body["input"], "options": {"sick": 1}}})
        sick = service.client.get("/health-check").json()
        assert (sick["status"], bool(sick["user_healthcheck_error"])) == ("UNHEALTHY", True)


def test_research_code_runs_as_it_is(project, served, index):
    index.add("shout", "1.0")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("b.txt", "b")
        archive.writestr("a.txt", "a")
    folder = project(RESEARCH)
    with served(folder) as service:
        given = {"model": "large", "file_list": data_url(zipped.getvalue(), "application/zip"), "steps": 2}
        answer = service.client.post("/predictions", json={"input": given}).json()
        assert answer["status"] == "succeeded", answer
        assert "from a shell" in answer["logs"]
        assert [one["file"] for one in answer["output"]] == [data_url(b"P%d" % n * 3, "image/png") for n in range(2)]
        last = answer["output"][-1]
        assert (last["name"], last["isFinal"], last["segments"]) == ("inside", True, [{"n": 1}])
        assert last["attributes"] == {"names": ["a.txt", "b.txt"], "home": "/src/weights"}
        wrong = service.client.post("/predictions", json={"input": {"model": "huge", "steps": 501, "scheduler": "x"}}).json()
        assert [one["loc"][-1] for one in wrong["detail"]] == ["model", "scheduler", "steps"]
        trained = service.client.post("/trainings", json={"input": {"images": data_url(b"ab", "application/zip")}}).json()
        assert trained["output"] == {"weights": data_url(b"abab", "application/octet-stream")}
    assert (folder / "outputs" / "1.png").read_bytes() == b"P1P1P1"
