"""Projects as people wrote them for Cog, in the older generation of its API and in the newer: they run as they are."""

from __future__ import annotations

import base64
import threading
import time
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
        assert outputs[1] - outputs[0] > 0.2
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
