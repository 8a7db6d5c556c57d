import time

from cog import BasePredictor

from lading import batched


class Predictor(BasePredictor):
    @batched(max_batch_size=32, max_latency=0.005)
    def predict(self, text: list[str]) -> list[str]:
        time.sleep(0.005 + 0.0001 * len(text))
        return ["hello " + one for one in text]
