"""How weights.pt was made: trained on the handwritten digits inside scikit-learn (UCI), enlarged to MNIST's 28 x 28.

Needs scikit-learn beside requirements.txt; run it in this folder.
"""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

from model import Digits


def main() -> None:
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    images = interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    labels = torch.tensor(data.target)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(30):
        for batch in torch.randperm(len(labels)).split(64):
            shifted = torch.roll(images[batch], tuple(torch.randint(-3, 4, (2,)).tolist()), dims=(2, 3))
            loss = cross_entropy(model(shifted), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, (model(images).argmax(1) == labels).float().mean().item())
    torch.save(model.half().state_dict(), "weights.pt")


if __name__ == "__main__":
    main()
