"""The network: small enough that its weights travel with the example."""

from torch import Tensor, nn


class Digits(nn.Module):
    """28 x 28 grey values from 0 to 1, shape (N, 1, 28, 28), to ten logits, shape (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 7 * 7, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
