"""Whether images fit a model: cheap checks that need no look at the voxels' values."""

from dataclasses import dataclass

from slicer.i18n import tr as _

from MedDetectLib.core.errors import MedDetectError

THICK = 6.0
"""Slices so many times farther apart than pixels are worth a remark."""


@dataclass(frozen=True)
class Judgement:
    """What the intake badge says.

    Args:
        kind: ``good``, ``warning`` (may be run) or ``bad`` (refused).
        text: one line.
        reasons: all of them, one a line.
    """

    kind: str
    text: str
    reasons: tuple = ()


def judge(nodes, channels):
    """Judge volumes against a model's channels.

    Args:
        nodes: one volume node, or None, per channel.
        channels: the model's `Channel`s.
    """
    missing = [c.name for n, c in zip(nodes, channels, strict=False) if n is None]
    if missing:
        names = ", ".join(missing)
        return Judgement("bad", _("Choose an image for: {names}.").format(names=names))
    if len(nodes) < len(channels):
        return Judgement(
            "bad",
            _("This model reads {n} images; the panel takes {m}. Use the console.").format(
                n=len(channels), m=len(nodes)
            ),
        )
    bad, doubtful = [], []
    volumes = []
    for node, channel in zip(nodes, channels, strict=False):
        flaws, doubts, volume = _look(node, channel)
        bad += flaws
        doubtful += doubts
        volumes.append(volume)
    bad += _gridFlaws(nodes, volumes)
    if bad:
        return Judgement("bad", bad[0], tuple(bad + doubtful))
    about = _about(volumes[0])
    if doubtful:
        return Judgement("warning", f"{doubtful[0]}  {about}", tuple(doubtful))
    return Judgement("good", about)


def viewOf(node):
    """Return a node's image as a `Volume` that shares its voxels; cheap.

    Raises:
        InputError: what `volume_view` refuses.
    """
    from MedDetectLib.adapters.mrml.volume_node import volume_view

    return volume_view(node)


def _look(node, channel):
    """Return (flaws, doubts, the image) of one image for one channel."""
    name = node.GetName()
    try:
        volume = viewOf(node)
    except MedDetectError as error:
        return [f"{name}: {error.what}."], [], None
    flaws, doubts = [], []
    if min(volume.geometry.shape_kji) < 2:
        flaws.append(_("{name}: it has a single slice.").format(name=name))
    found, wanted = volume.modality, channel.modality
    if wanted and found and found != wanted:
        flaws.append(
            _("{name} is {found}; the model reads {wanted}.").format(
                name=name, found=found, wanted=wanted
            )
        )
    elif wanted and not found:
        doubts.append(
            _("{name} does not say its modality; the model reads {wanted}.").format(
                name=name, wanted=wanted
            )
        )
    spacing_mm = volume.geometry.spacing_kji_mm
    if max(spacing_mm) > THICK * min(spacing_mm):
        doubts.append(_("Thick slices: {mm:.1f} mm.").format(mm=max(spacing_mm)))
    return flaws, doubts, volume


def _gridFlaws(nodes, volumes):
    first = volumes[0]
    flaws = []
    for node, volume in zip(nodes[1:], volumes[1:], strict=True):
        if first is None or volume is None:
            continue
        one, other = first.geometry, volume.geometry
        if other.shape_kji != one.shape_kji or not other.is_close(one):
            flaws.append(
                _("{name} lies on another grid than {first}; resample it first.").format(
                    name=node.GetName(), first=nodes[0].GetName()
                )
            )
    if len({node.GetID() for node in nodes}) < len(nodes):
        flaws.append(_("The same image is chosen twice."))
    return flaws


def _about(volume):
    k, j, i = volume.geometry.shape_kji
    dk, dj, di = volume.geometry.spacing_kji_mm
    parts = [volume.modality, f"{i} × {j} × {k}", f"{di:.2g} × {dj:.2g} × {dk:.2g} mm"]
    return "  ·  ".join(part for part in parts if part)
