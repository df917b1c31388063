"""What tests of several rooms share: the real data, and a little network that is real ONNX."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

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


@pytest.fixture(scope="session")
def data_folder():
    """The folder of shared data; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MEDDETECT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: neither MEDDETECT_DATA nor {beside}")
    return folder


@pytest.fixture(scope="session")
def unpacked(data_folder, tmp_path_factory):
    """Unpack one archive by name and give its folder."""
    done = {}

    def unpack(name):
        if name not in done:
            archive = data_folder / f"{name}.tar.xz"
            if not archive.is_file():
                pytest.skip(f"no real data: {archive.name} is absent")
            done[name] = tmp_path_factory.mktemp("real")
            with tarfile.open(archive) as tar:
                tar.extractall(done[name], filter="data")
        return done[name]

    return unpack


@pytest.fixture
def strike_everywhere(request, record_property):
    """Strike at every fault point of a scenario beside the test; all must hold.

    The table stands at the end of the test log, also when the tests run in several processes.
    """
    import sys

    here = Path(__file__).parent
    sys.path.insert(0, str(here / "faults"))
    from fault_points import enumerate_faults, why_not

    if why_not():
        pytest.skip(why_not())

    def strike(scenario):
        table = enumerate_faults(scenario, request.path.parent / "scenarios", timeout_s=3600)
        record_property("fault table", table.text)
        assert table.missed == [], table.text

    return strike


def pytest_terminal_summary(terminalreporter):
    """Print what tests measured: fault tables, and other tables named so."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, text in getattr(report, "user_properties", ()):
                if name.endswith("table"):
                    terminalreporter.write_line(f"\n{text}")
