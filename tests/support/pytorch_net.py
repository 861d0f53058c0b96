"""How ``pytorch_net.onnx`` was made: ``python tests/support/pytorch_net.py DATA.npz``, with PyTorch 2.14.1.

The file is a net trained on MNIST for four epochs (97.9 % of the test images), as PyTorch's exporter writes it: the
input is (1, 1, 28, 28), and the normalization of the pixels is a part of the model. PyTorch is not needed by the tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Normalize(nn.Module):
    """The normalization that torchvision's transform of this name does, as a layer of the model."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


def block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = np.load(sys.argv[1])
    images = torch.from_numpy(data["x_train"]).float()[:, None] / 255
    labels = torch.from_numpy(data["y_train"].astype(np.int64))
    ends = [nn.Flatten(), nn.Dropout(0.1), nn.Linear(784, 10)]
    model = nn.Sequential(Normalize([0.1307], [0.3081]), *block(1, 8), *block(8, 16), *ends)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(4):
        order = torch.randperm(len(images))
        for at in range(0, len(images), 128):
            rows = order[at : at + 128]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    target = Path(__file__).with_suffix(".onnx")
    torch.onnx.export(model.eval(), (torch.zeros(1, 1, 28, 28),), str(target), dynamo=False)


if __name__ == "__main__":
    main()
