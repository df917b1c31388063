"""Grids that a scanner, a converter or a bad day can produce."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from MedDetectLib.core.geometry import AxisMap, Geometry

settings.register_profile(
    "meddetect",
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("meddetect")

AXIS_MAPS = tuple(
    AxisMap(order, flip)
    for order in itertools.permutations(range(3))
    for flip in itertools.product((False, True), repeat=3)
)


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@st.composite
def geometries(draw, largest=12):
    """Oblique, anisotropic, flipped, permuted, far from the origin; left- and right-handed."""
    shape = tuple(draw(st.integers(1, largest)) for _ in range(3))
    spacing = [draw(st.floats(0.05, 9.0)) for _ in range(3)]
    angle = draw(st.sampled_from([0.0, 0.3, 0.7, 2.0]) | st.floats(-3.1, 3.1))
    axis = np.array([draw(st.integers(-5, 5)) for _ in range(3)], float)
    directions = rotation(axis if axis.any() else np.array([0.0, 0, 1]), angle)
    order = draw(st.permutations(range(3)))
    signs = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    origin = [draw(st.floats(-2000, 2000)) for _ in range(3)]
    return Geometry.from_axes(shape, spacing, origin, directions[:, list(order)] * signs)


@pytest.fixture(scope="session")
def any_geometry():
    return geometries()


@pytest.fixture(scope="session")
def any_axis_map():
    return st.sampled_from(AXIS_MAPS)


@pytest.fixture(scope="session")
def oblique_geometry():
    return Geometry.from_axes(
        (5, 7, 9), (2.5, 0.7, 0.6), (-31.0, 12.0, 400.0), rotation(np.array([1.0, 2, 3]), 0.6)
    )
