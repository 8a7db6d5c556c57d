class PythonPredictor:
    def __init__(self, config, metrics_client):
        self.metrics = metrics_client

    def predict(self, payload, request_id):
        self.metrics.increment("doubled")
        return {"request": request_id, "doubled": payload["x"] * 2}
