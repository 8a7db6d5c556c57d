class PythonPredictor:
    def __init__(self, config):
        self.factor = config.get("factor", 2)

    def predict(self, payload, query_params, headers):
        return {"doubled": payload["x"] * self.factor}
