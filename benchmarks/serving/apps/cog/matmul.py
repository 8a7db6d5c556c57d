import numpy as np
from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        rows, columns = np.indices((784, 10))
        self.matrix = (((rows * 7 + columns * 13) % 23 - 11) / 8).astype(np.float32)

    def predict(self, x: list[float]) -> list[float]:
        return (np.asarray(x, dtype=np.float32) @ self.matrix).tolist()
