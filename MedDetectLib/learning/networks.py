"""A small 3-D residual U-Net whose answer does not depend on the size of its window.

The first convolution halves the grid and the last one doubles it again: all the work is done
on an eighth of the voxels. Batch normalisation (not instance normalisation) makes a voxel's
answer depend on its surroundings only, never on how large a window was cut around it; it is
folded into the convolutions on export.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["ResidualUNet", "export_onnx"]


def _block_norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, momentum=0.05)


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Two 3x3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = _block_norm(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = _block_norm(channels)
        self.act = nn.LeakyReLU(0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, k, j, i) to the same shape."""
        y = self.act(self.norm1(self.conv1(x)))
        out: Tensor = self.act(x + self.norm2(self.conv2(y)))
        return out


class ResidualUNet(nn.Module):  # type: ignore[misc]
    """Image (N, in_channels, k, j, i) to logits (N, classes, k, j, i); sides divisible by 8.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits, background first.
        widths: channels at 1/2, 1/4 and 1/8 of the grid.
        depths: residual blocks on the way down at each of them; one each on the way up.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (16, 32, 64),
        depths: Sequence[int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "in_channels": in_channels,
            "classes": classes,
            "widths": list(widths),
            "depths": list(depths),
        }
        self.stem = nn.Conv3d(in_channels, widths[0], 4, stride=2, padding=1)
        self.stem_norm = _block_norm(widths[0])
        self.act = nn.LeakyReLU(0.02)
        self.down = nn.ModuleList(
            nn.Conv3d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths)
        )
        self.encoder = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in itertools.pairwise(widths)
        )
        self.decoder = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.head = nn.ConvTranspose3d(widths[0], classes, 4, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits at the resolution of the image."""
        x = self.act(self.stem_norm(self.stem(image)))
        kept = []
        for level, blocks in enumerate(self.encoder):
            x = blocks(x)
            if level < len(self.down):
                kept.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.up))):
            x = self.decoder[level](self.up[level](x) + kept[level])
        logits: Tensor = self.head(x)
        return logits


def folded(network: ResidualUNet) -> ResidualUNet:
    """Return a copy for inference with its normalisations folded into its convolutions."""
    network = copy.deepcopy(network).eval()
    network.stem = fuse_conv_bn_eval(network.stem, network.stem_norm)
    network.stem_norm = nn.Identity()
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.conv1 = fuse_conv_bn_eval(module.conv1, module.norm1)
            module.conv2 = fuse_conv_bn_eval(module.conv2, module.norm2)
            module.norm1 = module.norm2 = nn.Identity()
    return network


def export_onnx(network: ResidualUNet, path: Path) -> None:
    """Write ``image`` (N, C, k, j, i) -> ``logits``, every size dynamic, k, j, i divisible by 8."""
    ready = folded(network)
    channels = int(network.settings["in_channels"])
    dim = torch.export.Dim
    sizes = {0: dim("batch", min=1), **{a: 8 * dim(f"eighth_{a}", min=1) for a in (2, 3, 4)}}
    program = torch.onnx.export(
        ready,
        (torch.zeros(2, channels, 24, 32, 40),),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": sizes},
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_without_traces(program.model_proto).SerializeToString(deterministic=True))


def _without_traces(model: Any) -> Any:
    """Take out what the exporter keeps of the sources and folders it ran in; return the model."""
    graph = model.graph
    parts = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *parts):
        del part.metadata_props[:]
        part.doc_string = ""
    return model
