"""What tests of several rooms share: a real little network that finds what is bright."""

import hashlib
import json

import pytest


@pytest.fixture
def bright_model(tmp_path):
    """Make the folder of a model that finds voxels brighter than a threshold.

    The network is real ONNX with two channels, threshold - x and x - threshold.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def make(threshold, **overrides):
        folder = tmp_path / f"bright-{threshold:g}"
        folder.mkdir(exist_ok=True)
        weight = np.array([-1.0, 1.0], np.float32).reshape(2, 1, 1, 1, 1)
        bias = np.array([threshold, -threshold], np.float32)
        axes = ["n", 1, "k", "j", "i"]
        graph = helper.make_graph(
            [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
            "bright",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, axes)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, "k", "j", "i"])],
            [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
        )
        network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        network.ir_version = 8
        onnx.save(network, folder / "model.onnx")
        card = {
            "format": "meddetect.model/1",
            "name": "bright",
            "version": "1.0.0",
            "task": "segmentation",
            "weights": "model.onnx",
            "files": {
                "model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
            },
            "input": {
                "tensor": "image",
                "channels": [{"name": "image"}],
                "window": {"shape_kji": [32, 48, 48], "overlap": 0.25},
                **overrides.pop("input", {}),
            },
            "output": {
                "head": "voxel_scores",
                "tensor": "logits",
                "activation": "softmax",
                "labels": [{"value": 1, "name": "bright", "colour_rgb": [230, 120, 40]}],
            },
            **overrides,
        }
        (folder / "model.json").write_text(json.dumps(card))
        return folder

    return make
