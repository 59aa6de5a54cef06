"""OSNet-AIN at a quarter of its width: the network behind the re-identifier of persons that ``models fetch`` converts.

Attributes are named as in torchreid, so that its checkpoints fit.

Source:
    Zhou, Yang, Cavallaro and Xiang, Learning generalisable omni-scale representations for person re-identification,
    TPAMI 2021; ``torchreid/models/osnet_ain.py`` in KaiyangZhou/deep-person-reid (MIT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INPUT", "osnet_ain"]

#: Height and width of the input in pixels.
INPUT = (256, 128)
#: Channels after the stem and after each of three stages at a quarter of the full width (64, 256, 384, 512).
CHANNELS = (16, 64, 96, 128)
#: Length of the description.
FEATURES = 512
#: Streams of a block, of 1 to 4 light convolutions: scales from 3 to 9 cells.
STREAMS = 4
#: Channels of a block over those of its streams, and of a gate over those of its hidden layer.
BOTTLENECK, GATE = 4, 16
#: Which of the blocks have instance normalisation inside, by stage, as the paper's search found.
NORMALISED = ((True, True), (False, True), (True, False))


def osnet_ain() -> nn.Module:
    """Return the network with random weights: a person of float32 (N, 3, 256, 128) as float32 (N, 512).

    It takes RGB in [0, 1] less ImageNet's mean, over its spread. Its classes live in here, since PyTorch is loaded only
    where it is used.
    """
    import torch
    from torch import Tensor, nn

    class Convolution(nn.Module):
        """Convolution, normalisation and, unless linear, activation."""

        def __init__(
            self,
            taken: int,
            given: int,
            size: int = 1,
            stride: int = 1,
            *,
            norm: nn.Module | None,
            linear: bool = False,
        ) -> None:
            super().__init__()
            self.conv = nn.Conv2d(taken, given, size, stride, size // 2, bias=False)
            self.bn = norm
            self.linear = linear

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            x = x if self.bn is None else self.bn(x)
            return x if self.linear else torch.relu(x)

    def plain(taken: int, given: int, *, linear: bool = False) -> Convolution:
        return Convolution(taken, given, norm=nn.BatchNorm2d(given), linear=linear)

    class Light(nn.Module):
        """A point-wise convolution and one of each channel alone."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            self.bn = nn.BatchNorm2d(channels)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.bn(self.conv2(self.conv1(x))))

    class Stream(nn.Module):
        """Light convolutions, one after the other."""

        def __init__(self, channels: int, depth: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(Light(channels) for _ in range(depth)))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layers(x)
            return out

    class Gate(nn.Module):
        """Weights of channels from their means; all streams of a block share one gate."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.fc1 = nn.Conv2d(channels, channels // GATE, 1)
            self.fc2 = nn.Conv2d(channels // GATE, channels, 1)

        def forward(self, x: Tensor) -> Tensor:
            weights = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))
            return x * weights

    class Block(nn.Module):
        """Streams of several scales, gated and added, beside what came in."""

        def __init__(self, taken: int, given: int, normalised: bool) -> None:
            super().__init__()
            inner = given // BOTTLENECK
            self.conv1 = plain(taken, inner)
            self.conv2 = nn.ModuleList(Stream(inner, depth) for depth in range(1, STREAMS + 1))
            self.gate = Gate(inner)
            norm = None if normalised else nn.BatchNorm2d(given)
            self.conv3 = Convolution(inner, given, norm=norm, linear=True)
            self.downsample = None if taken == given else plain(taken, given, linear=True)
            if normalised:
                self.IN = nn.InstanceNorm2d(given, affine=True)
            self.normalised = normalised

        def forward(self, x: Tensor) -> Tensor:
            inner = self.conv1(x)
            out = self.conv3(torch.stack([self.gate(stream(inner)) for stream in self.conv2]).sum(dim=0))
            if self.normalised:
                out = self.IN(out)
            return torch.relu(out + (x if self.downsample is None else self.downsample(x)))

    class Network(nn.Module):
        """The whole network."""

        def __init__(self) -> None:
            super().__init__()
            stem = CHANNELS[0]
            self.conv1 = Convolution(3, stem, 7, 2, norm=nn.InstanceNorm2d(stem, affine=True))
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            stages = [
                nn.Sequential(Block(taken, given, first), Block(given, given, second))
                for taken, given, (first, second) in zip(CHANNELS, CHANNELS[1:], NORMALISED, strict=False)
            ]
            self.conv2, self.conv3, self.conv4 = stages
            self.pool2, self.pool3 = (
                nn.Sequential(plain(width, width), nn.AvgPool2d(2, 2)) for width in (CHANNELS[1], CHANNELS[2])
            )
            self.conv5 = plain(CHANNELS[3], CHANNELS[3])
            self.fc = nn.Sequential(nn.Linear(CHANNELS[3], FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            x = self.pool2(self.conv2(self.maxpool(self.conv1(x))))
            x = self.conv5(self.conv4(self.pool3(self.conv3(x))))
            out: Tensor = self.fc(x.mean(dim=(2, 3)))
            return out

    return Network()
