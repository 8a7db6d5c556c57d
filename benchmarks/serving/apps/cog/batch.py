import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        time.sleep(0.005 + 0.0001)
        return "hello " + text
