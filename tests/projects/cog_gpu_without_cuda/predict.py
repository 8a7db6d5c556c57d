"""Doubles a number."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self):
        self.factor = 2

    def predict(self, number: int = Input(description="The number to double", ge=0)) -> int:
        return self.factor * number
