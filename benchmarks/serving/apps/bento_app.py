"""BentoML: a service with one worker."""

from collections.abc import Generator

import bentoml
import models
from models import WORKLOAD


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Service:
    if WORKLOAD == "matmul":

        @bentoml.api
        def predict(self, x: list[float]) -> dict:
            return {"output": models.matmul(x)}

    elif WORKLOAD == "blob":

        @bentoml.api
        def predict(self, data: str) -> dict:
            return {"output": models.blob64(data)}

    elif WORKLOAD == "stream":

        @bentoml.api
        def predict(self, text: str) -> Generator[str, None, None]:
            yield from models.stream(text)

    elif WORKLOAD == "batch":

        @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
        def predict(self, text: list[str]) -> list[str]:
            return models.batch(text)

    else:

        @bentoml.api
        def predict(self, text: str) -> dict:
            return {"output": models.PREDICT(text)}
