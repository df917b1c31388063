"""A U-Net by nnU-Net's recipe with random weights, written as ONNX without any framework."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["THIRTY_MILLION", "UNet", "write_unet"]

THIRTY_MILLION = (32, 64, 128, 256, 320, 320)
"""Channels per stage of nnU-Net's default 3-D plan: 30.8 million parameters."""


class UNet:
    """Collects the nodes and weights of one network.

    Per stage two convolutions, each with instance normalisation and leaky ReLU; strided
    convolutions down, transposed ones up, skips joined by channel (Isensee et al., "nnU-Net",
    Nature Methods 2021).

    Args:
        classes: channels of the answer, background included.
        features: channels per stage.
        seed: of the random weights; He initialisation keeps activations of order one.
    """

    def __init__(self, classes: int, features: Sequence[int], seed: int = 20) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(seed)
        skips = []
        value, channels = "image", 1
        for stage, width in enumerate(features):
            value = self._block(f"down{stage}.0", value, channels, width, 1 if stage == 0 else 2)
            value = self._block(f"down{stage}.1", value, width, width)
            skips.append(value)
            channels = width
        for stage in range(len(features) - 2, -1, -1):
            width = features[stage]
            self._add(f"up{stage}.up.weight", (channels, width, 2, 2, 2), channels)
            self._node(
                "ConvTranspose", f"up{stage}.up", value, [f"up{stage}.up.weight"], strides=[2] * 3
            )
            self._node("Concat", f"up{stage}.join", f"up{stage}.up", [skips[stage]], axis=1)
            value = self._block(f"up{stage}.0", f"up{stage}.join", 2 * width, width)
            value = self._block(f"up{stage}.1", value, width, width)
            channels = width
        self._add("scores.weight", (classes, channels, 1, 1, 1), channels)
        self._keep("scores.bias", np.zeros(classes, np.float32))  # or one class wins everywhere
        self._node("Conv", "logits", value, ["scores.weight", "scores.bias"])

    def _block(self, name: str, value: str, before: int, width: int, stride: int = 1) -> str:
        self._add(f"{name}.weight", (width, before, 3, 3, 3), before * 27)
        self._add(f"{name}.bias", (width,), width)
        self._keep(f"{name}.scale", np.ones(width, np.float32))
        self._keep(f"{name}.shift", np.zeros(width, np.float32))
        self._node(
            "Conv",
            f"{name}.conv",
            value,
            [f"{name}.weight", f"{name}.bias"],
            kernel_shape=[3] * 3,
            pads=[1] * 6,
            strides=[stride] * 3,
        )
        self._node(
            "InstanceNormalization",
            f"{name}.norm",
            f"{name}.conv",
            [f"{name}.scale", f"{name}.shift"],
            epsilon=1e-5,
        )
        self._node("LeakyRelu", name, f"{name}.norm", [], alpha=0.01)
        return name

    def _add(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        values = self._random.standard_normal(shape, np.float32)
        self._keep(name, values * np.float32((2.0 / fan_in) ** 0.5))

    def _keep(self, name: str, values: npt.NDArray[np.float32]) -> None:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(values, name))

    def _node(self, kind: str, output: str, value: str, others: list[str], **fields: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, [value, *others], [output], output, **fields))


def write_unet(path: Path, classes: int, features: Sequence[int] = THIRTY_MILLION) -> int:
    """Write the network; return its number of parameters.

    Input ``image`` (n, 1, k, j, i), output ``logits`` (n, classes, k, j, i); k, j and i must
    be multiples of two to the power of the stages less one.
    """
    import onnx
    from onnx import TensorProto, helper

    unet = UNet(classes, features)
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "k", "j", "i"])
    answer = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, ["n", classes, "k", "j", "i"]
    )
    graph = helper.make_graph(unet.nodes, "unet", [given], [answer], unet.weights)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(network, str(path))
    return sum(int(np.prod(weight.dims)) for weight in unet.weights)
