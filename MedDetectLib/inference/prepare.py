"""From the volume's own grid to the grid the network works on, and the exact way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import AxisMap, FloatArray, Geometry
from MedDetectLib.core.memory import require_memory
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.intensity import Image, normalise
from MedDetectLib.inference.resample import (
    ShrinkTaps,
    Taps,
    resample,
    shrink_taps_between,
    taps_between,
)
from MedDetectLib.models.card import InputSpec, ModelCard

__all__ = ["Prepared", "cpu_image", "model_grid", "prepare", "require_float32"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the network is given, and how its answers find home.

    Three grids: the volume's *own*; the *turned* one, the own grid with axes swapped and
    flipped to the model's orientation; and the *model's*, the turned grid resampled.

    Args:
        array: (C, k, j, i) float32 on the model's grid, normalised.
        geometry: the model's grid in RAS.
        own: the volume's own grid.
        axes: own to turned.
        turned_shape_kji: voxels of the turned grid.
        step_kji: size of a turned voxel in model voxels.
        back_kji: taps that sample the model's grid at the turned grid's voxel centres.
        notes: remarks made on the way.
    """

    array: Image
    geometry: Geometry
    own: Geometry
    axes: AxisMap
    turned_shape_kji: tuple[int, int, int]
    step_kji: tuple[float, float, float]
    anchored_at_edges: bool
    back_kji: tuple[Taps, Taps, Taps]
    notes: tuple[Note, ...] = ()

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """Voxels of the model's grid."""
        return self.geometry.shape_kji

    def restore_array(self, turned: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring [k, j, i] on the turned grid to the own grid."""
        return np.ascontiguousarray(self.axes.inverse.apply(turned))

    def restore_boxes(self, edges: FloatArray) -> FloatArray:
        """Bring (N, 6) boxes in edges of the model's grid to edges of the own grid."""
        step = np.array(self.step_kji * 2)
        shift = 0.0 if self.anchored_at_edges else 0.5
        turned = (edges - shift) / step + shift
        return self.axes.inverse.apply_boxes(turned, self.turned_shape_kji)


def cpu_image(
    channels: Sequence[Volume], axes: AxisMap, there: Sequence[Taps | ShrinkTaps], spec: InputSpec
) -> Image:
    """Return (C, k, j, i): every channel turned, resampled and normalised."""
    return np.stack([_channel(volume, axes, there, spec) for volume in channels])


def prepare(
    volumes: Volume | Sequence[Volume],
    card: ModelCard,
    make_image: Callable[..., Image] = cpu_image,
) -> Prepared:
    """Turn, resample and normalise the input as the model card says.

    Args:
        volumes: one volume per input channel of the model, all on the same grid.
        card: the model's card.
        make_image: `cpu_image`, or what does the same elsewhere.

    Raises:
        InputError: ``wrong-channels``, ``grids-differ``, ``wrong-modality``, ``not-finite``,
            ``too-large`` when the model's grid does not fit into memory.
    """
    channels = [volumes] if isinstance(volumes, Volume) else list(volumes)
    spec = card.input
    notes = _check_channels(channels, card)
    own = channels[0].geometry
    axes = own.axis_map_to(spec.orientation or own.orientation)
    turned = own.reoriented(axes)
    geometry, step_kji = model_grid(turned, spec, channels[0].name)
    notes += _thin(channels[0], turned, geometry, spec)
    between = shrink_taps_between if spec.antialias else taps_between
    there = between(turned.shape_kji, geometry.shape_kji, [1.0 / s for s in step_kji], spec.anchor)
    back = taps_between(geometry.shape_kji, turned.shape_kji, step_kji, spec.anchor)
    return Prepared(
        array=make_image(channels, axes, there, spec),
        geometry=geometry,
        own=own,
        axes=axes,
        turned_shape_kji=turned.shape_kji,
        step_kji=step_kji,
        anchored_at_edges=spec.anchor == "edges",
        back_kji=back,
        notes=notes,
    )


def _channel(
    volume: Volume, axes: AxisMap, there: Sequence[Taps | ShrinkTaps], spec: InputSpec
) -> Image:
    turned = axes.apply(volume.array)
    if turned.dtype.kind == "f":
        require_float32(float(turned.min()), float(turned.max()), volume.name)  # NaN if any is
    if spec.normalise == "before_resample":
        image = np.array(turned, dtype=np.float32, order="C")
        return resample(normalise(image, spec.intensity), there)
    image = resample(turned, there)
    if np.may_share_memory(image, volume.array):
        image = image.copy()
    return normalise(np.ascontiguousarray(image), spec.intensity)


def require_float32(low: float, high: float, name: str) -> None:
    """Refuse an image whose smallest or largest value is no finite number in float32.

    Raises:
        InputError: ``not-finite``.
    """
    limit = float(np.finfo(np.float32).max)
    if not (-limit <= low and high <= limit):
        raise InputError(
            "not-finite",
            "a voxel is NaN, infinite or larger than float32 holds",
            where=name,
            todo="re-export the image, or read it with --accept not-finite",
        )


def model_grid(
    turned: Geometry, spec: InputSpec, name: str
) -> tuple[Geometry, tuple[float, float, float]]:
    """Return the model's grid and the size of a turned voxel in model voxels.

    Args:
        turned: the turned grid.
        spec: what the network wants.
        name: of the volume, for the message.

    Raises:
        InputError: ``too-large``.
    """
    old_shape, old_mm = turned.shape_kji, turned.spacing_kji_mm
    if spec.fit_shape_kji is None and spec.spacing_kji_mm is None:
        return turned, (1.0, 1.0, 1.0)
    if spec.fit_shape_kji is not None:
        shape = spec.fit_shape_kji
        wanted_mm = [n * mm / m for n, mm, m in zip(old_shape, old_mm, shape, strict=True)]
        _check_room(shape, (1.0, 1.0, 1.0), len(spec.channels), name)
    else:
        assert spec.spacing_kji_mm is not None
        wanted_mm = list(spec.spacing_kji_mm)
        ratios = [old / new for old, new in zip(old_mm, wanted_mm, strict=True)]
        _check_room(old_shape, ratios, len(spec.channels), name)
        shape = _shape(old_shape, ratios, spec.anchor == "edges")
    if spec.anchor == "edges":
        step = [m / n for m, n in zip(shape, old_shape, strict=True)]
    else:
        step = [old / new for old, new in zip(old_mm, wanted_mm, strict=True)]
    geometry = turned.resampled(shape, wanted_mm, spec.anchor)
    return geometry, (step[0], step[1], step[2])


def _check_room(
    old_shape_kji: Sequence[int], ratios: Sequence[float], channels: int, name: str
) -> None:
    """Refuse a model grid beyond memory: a spacing in the wrong unit asks for terabytes."""
    voxels = math.prod(max(1.0, n * ratio) for n, ratio in zip(old_shape_kji, ratios, strict=True))
    needed = int(min(voxels, 2.0**60)) * 4 * (channels + 2)  # two more while interpolating
    require_memory(needed, None, what="the image at the model's spacing", where=name)


def _shape(
    old_shape_kji: Sequence[int], ratios: Sequence[float], edges: bool
) -> tuple[int, int, int]:
    """Return the number of model voxels that cover the old extent (edges) or its centres."""
    pairs = zip(old_shape_kji, ratios, strict=True)
    if edges:
        sizes = [max(1, round(n * ratio)) for n, ratio in pairs]
    else:
        sizes = [round((n - 1) * ratio + 1.0) for n, ratio in pairs]  # halves as MONAI does
    return sizes[0], sizes[1], sizes[2]


def _how_apart(one: Geometry, other: Geometry) -> str:
    """Return how two grids differ, as a clause."""
    sizes = [" x ".join(map(str, grid.shape_kji)) for grid in (one, other)]
    if sizes[0] != sizes[1]:
        return f"{sizes[0]} voxels instead of {sizes[1]}"
    apart = [grid.edge_to_ras(grid.corners_edge()) for grid in (one, other)]
    return f"its corners are up to {np.linalg.norm(apart[0] - apart[1], axis=1).max():.3g} mm away"


def _thin(volume: Volume, turned: Geometry, grid: Geometry, spec: InputSpec) -> tuple[Note, ...]:
    """Remark an image of a single voxel along an axis that the model looks along."""
    sizes = zip(turned.shape_kji, grid.shape_kji, spec.window.shape_kji, strict=True)
    for axis, (own, size, window) in enumerate(sizes):
        if 1 in (own, size) and window > 1:
            thick = f"{own * turned.spacing_kji_mm[axis]:.3g} mm"
            text = (
                f"'{volume.name}' is {thick} thick along one axis, voxels: {own}, on the model's"
                f" grid: {size}; the model looks at {window} and may miss findings"
            )
            return (Note("thin-volume", text),)
    return ()


def _check_channels(volumes: Sequence[Volume], card: ModelCard) -> tuple[Note, ...]:
    wanted = card.input.channels
    if len(volumes) != len(wanted):
        names = ", ".join(channel.name for channel in wanted)
        raise InputError(
            "wrong-channels",
            f"model {card.name} takes {len(wanted)} volume(s), got {len(volumes)}",
            todo=f"give, in this order: {names}",
        )
    notes = []
    for volume, channel in zip(volumes, wanted, strict=True):
        if not volume.geometry.is_close(volumes[0].geometry, tolerance_mm=1e-2):
            raise InputError(
                "grids-differ",
                f"'{volume.name}' lies on another grid than '{volumes[0].name}':"
                f" {_how_apart(volume.geometry, volumes[0].geometry)}",
                todo="resample the channels onto one grid first (in Slicer: Resample Image)",
            )
        if channel.modality and volume.modality and channel.modality != volume.modality:
            raise InputError(
                "wrong-modality",
                f"model {card.name} takes {channel.modality}, the volume is {volume.modality}",
                where=volume.name,
                todo="choose another model, or state the true modality with --modality",
            )
        if channel.modality and not volume.modality:
            text = f"'{volume.name}' does not say what it is; taken for {channel.modality}"
            notes.append(Note("modality-unknown", text))
    return tuple(notes)
