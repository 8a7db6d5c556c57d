class Handler:
    def __init__(self, config):
        self.factor = 2

    def handle_post(self, payload):
        return {"doubled": payload["x"] * self.factor}

    def handle_get(self):
        return {"factor": self.factor}
