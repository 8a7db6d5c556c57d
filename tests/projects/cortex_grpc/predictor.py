class PythonPredictor:
    def __init__(self, config, proto_module_pb2):
        self.messages = proto_module_pb2

    def predict(self, payload):
        return self.messages.Message(text=payload.text.upper())
