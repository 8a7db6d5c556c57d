"""Predictors as people write them, by situation: the files of a project, and the object that is asked for in ``predict.py``."""

from __future__ import annotations

from textwrap import dedent

PREDICTORS: dict[str, tuple[str, dict[str, str]]] = {}


def _add(name: str, target: str, **files: str) -> None:
    PREDICTORS[name] = (target, {f"{path.replace('__', '/')}.py": dedent(text) for path, text in files.items()})


_add(
    "cog_image_to_image",
    "Predictor",
    predict="""
        from cog import BasePredictor, Input, Path

        SCHEDULERS = {"ddim": make_ddim, "pndm": make_pndm}

        class Predictor(BasePredictor):
            def setup(self) -> None:
                self.model = load()

            def predict(
                self,
                image: Path = Input(description="Image to enlarge"),
                prompt: str = Input(description="What to draw", default="a lighthouse", min_length=1, max_length=400),
                scale: float = Input(description="Factor", default=1.5, ge=1, le=4),
                steps: int = Input(default=25, ge=1, le=2**9 - 12),
                scheduler: str = Input(default="ddim", choices=list(SCHEDULERS.keys())),
                seed: int = Input(description="Random seed. Leave blank to randomize the seed", default=None),
                upscale: bool = False,
            ) -> Path:
                return Path("out.png")
    """,
)
_add(
    "cog_runner_streams_text",
    "Runner",
    predict="""
        import cog
        from cog import AsyncConcatenateIterator, BaseRunner, Input as I, Secret
        from typing import Optional

        class Runner(BaseRunner):
            async def setup(self, weights: Optional[cog.Path] = None): ...

            @cog.streaming
            @cog.concurrent(max=8)
            async def run(self, prompt: str, key: Secret = I(default=None), stop: Optional[list[str]] = I(default=None, deprecated=True),
                          file: cog.Path = I(accept="image/*"), code: str = I(regex="^[a-z]+$", default="abc")) -> AsyncConcatenateIterator[str]:
                yield prompt

            async def healthcheck(self) -> bool:
                return True
    """,
)
_add(
    "future_annotations_and_aliases",
    "Predictor",
    predict="""
        from __future__ import annotations
        import typing as t
        from typing import TYPE_CHECKING, Annotated
        try:
            from typing import Literal
        except ImportError:
            from typing_extensions import Literal
        import cog as c
        from shapes import Colour
        import kinds
        if TYPE_CHECKING:
            from somewhere import Strange

        Size = Literal["s", "m", "l"]

        class Predictor:
            def predict(self, size: Size, colour: Colour = Colour.RED, more: "t.List[int]" = c.Input(default=[1, 2]),
                        either: int | str = 3, nothing: t.Optional[Size] = None, level: kinds.Level = kinds.Level.LOW,
                        open_: Annotated[Strange, c.Opaque] = None, noted: Annotated[int, "a note"] = 1,
                        anything: t.Any = None, table: t.Dict[str, t.List[float]] = c.Input(default={})) -> t.Dict[str, float]:
                return {}
    """,
    shapes="""
        from enum import Enum
        class Colour(str, Enum):
            RED = "red"
            GREEN = "green"
    """,
    kinds="""
        import enum
        class Level(enum.IntEnum):
            LOW = enum.auto()
            HIGH = enum.auto()
    """,
)
_add(
    "plain_function",
    "predict",
    predict="""
        import os
        HERE = os.environ.get("HERE", "x")

        def predict(text: str, top: int = 3, *, place: str = HERE, scores: bool = True) -> list[dict[str, float]]:
            return []
    """,
)
_add(
    "plain_class_with_inherited_method",
    "Model",
    predict="""
        from lib.base import Base
        class Model(Base):
            def setup(self): ...
    """,
    lib____init__="",
    lib__base="""
        from .shared import Point
        class Base:
            def predict(self, at: Point, points: list[Point] = []) -> Point:
                return at
    """,
    lib__shared="""
        from typing import NotRequired, TypedDict
        class Named(TypedDict):
            name: str
        class Point(Named):
            x: float
            y: NotRequired[float]
    """,
)
_add(
    "structured_outputs",
    "Predictor",
    predict="""
        from __future__ import annotations
        from dataclasses import dataclass
        from datetime import datetime
        from typing import ClassVar, Iterator, Optional
        from cog import BaseModel, BasePredictor, Path
        import pydantic

        @dataclass
        class Box:
            left: int
            label: str = "none"

        class Inner(pydantic.BaseModel):
            when: datetime
            next: Optional[Inner] = None

        class Output(BaseModel):
            VERSION: ClassVar[int] = 1
            text: str
            file: Optional[Path]
            boxes: list[Box]
            inner: Inner
            pair: tuple[int, int] = (1, 2)

        class Predictor(BasePredictor):
            def predict(self) -> Iterator[Output]:
                yield Output()
    """,
)
_add(
    "inputs_written_elsewhere",
    "Predictor",
    predict="""
        from cog import *
        from typing import *
        from options import PROMPT, Options, LIMIT, NAMES

        class Predictor(BasePredictor):
            def predict(self, prompt: str = PROMPT, width: int = Options.width, ratio: float = Options.ratio(default=2, top=LIMIT),
                        name: Optional[str] = Input(description=f"one of {', '.join(NAMES)}", choices=NAMES + ["other"], default=None)) -> Iterator[List[str]]:
                yield []
    """,
    options="""
        from cog import Input
        LIMIT = 10 * 2
        NAMES = [name for name in ("a", "b")]
        PROMPT = Input(description="The " "prompt", default="x" * 3)
        class Options:
            width = Input(default=64, ge=8)
            @staticmethod
            def ratio(default, top=5):
                return Input(default=default, ge=0.5, le=top)
    """,
)
_add(
    "function_with_async_generator",
    "stream",
    predict="""
        from typing import AsyncIterator, Iterable
        from cog import Path

        async def stream(files: Iterable[Path] if False else list[Path]) -> AsyncIterator[Path]:
            for file in files:
                yield file
    """.replace("Iterable[Path] if False else list[Path]", "list[Path]"),
)
_add(
    "decorated_and_renamed",
    "Predictor",
    predict="""
        import torch
        from impl.core import Predictor as Core
        Predictor = Core
    """,
    impl__core="""
        import torch
        class Predictor(torch.nn.Module):
            @torch.inference_mode()
            def run(self, x: float = 1, /) -> float:
                return x
    """.replace(", /", ""),
)
_add(
    "python_3_6_source",
    "Predictor",
    predict="""
        from typing import List, Union
        import cog

        class Predictor(cog.Predictor if False else object):
            def setup(self):
                self.call(**{"async": True})
            def predict(self, texts: List[str], limit: Union[int, float, None] = None) -> "List[str]":
                async = 1
                return texts
    """.replace("cog.Predictor if False else object", "object"),
)
