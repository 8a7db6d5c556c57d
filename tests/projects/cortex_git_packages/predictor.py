"""Doubles a number."""


class PythonPredictor:
    def __init__(self, config):
        self.factor = config.get("factor", 2)

    def predict(self, payload):
        return {"doubled": self.factor * payload["number"]}
