"""Ray Serve: one replica behind the default proxy."""

import json
import sys
import time

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import StreamingResponse


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
class Predictor:
    def __init__(self):
        import models

        self.models = models

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def batched(self, texts):
        return self.models.batch(texts)

    async def __call__(self, request: Request):
        models = self.models
        value = (await request.json())[models.FIELD]
        if models.WORKLOAD == "stream":
            return StreamingResponse((json.dumps(token) for token in models.stream(value)), media_type="text/event-stream")
        return {"output": await self.batched(value) if models.WORKLOAD == "batch" else models.PREDICT(value)}


ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False})
serve.run(Predictor.bind(), route_prefix="/predict")
while True:
    time.sleep(3600)
