import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        time.sleep(0.001)
        return "hello " + text
