"""Networks that torch runs operator by operator."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.backends.torch import TorchNetwork


def test_a_network_that_was_interrupted_takes_the_next_volume():
    def answers(windows, check):
        check()
        return {"scores": windows}

    network = TorchNetwork(answers, "cpu", "f32")
    windows = torch.zeros(1, 1, 2, 2, 2)
    with network.stream():
        network(windows)
        network.stopped = True
        with pytest.raises(ModelError, match="interrupted"):
            network(windows)
    with network.stream():  # the next volume that stays on the device
        assert np.asarray(network(windows)["scores"]).shape == (1, 1, 2, 2, 2)
