from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, data: Path) -> str:
        return f"{len(data.read_bytes())} bytes"
