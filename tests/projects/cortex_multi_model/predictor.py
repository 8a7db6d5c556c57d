import os


class PythonPredictor:
    def __init__(self, config, python_client):
        self.client = python_client

    def load_model(self, model_path):
        with open(os.path.join(model_path, "weights.txt")) as stream:
            return stream.read().strip()

    def predict(self, payload, query_params):
        return self.client.get_model(query_params["model"], query_params.get("version", "latest"))
