import itertools

import numpy as np
import pytest

from MedDetectLib.core.geometry import AxisMap, Geometry
from MedDetectLib.learning.phantoms import Phantom, brain_phantom, chest_phantom

KINDS = {"chest": chest_phantom, "brain": brain_phantom}
SMALL = {"chest": (4.0, 3.0, 3.0), "brain": (3.0, 2.5, 2.5)}
BOTH = pytest.mark.parametrize("kind", list(KINDS))


def small(kind: str, seed: int, **more: object) -> Phantom:
    return KINDS[kind](seed, spacing_kji_mm=SMALL[kind], **more)


def centroids_ras(phantom: Phantom) -> dict[int, np.ndarray]:
    """Centre of the truth's voxels of each lesion, RAS mm."""
    geometry = phantom.volume.geometry
    return {
        lesion.value: geometry.index_to_ras(np.argwhere(phantom.truth == lesion.value).mean(axis=0))
        for lesion in phantom.lesions
    }


@BOTH
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_patient(kind: str) -> None:
    first, again, other = small(kind, 3), small(kind, 3), small(kind, 4)
    assert first.volume.array.tobytes() == again.volume.array.tobytes()
    assert first.truth.tobytes() == again.truth.tobytes()
    assert first.lesions == again.lesions
    assert first.volume.array.tobytes() != other.volume.array.tobytes()


@BOTH
def test_every_voxel_of_the_truth_belongs_to_a_listed_lesion_and_its_box_is_tight(
    kind: str,
) -> None:
    phantom = small(kind, 5)
    values = set(np.unique(phantom.truth)) - {0}
    assert values == {lesion.value for lesion in phantom.lesions}
    for lesion in phantom.lesions:
        places = np.argwhere(phantom.truth == lesion.value)
        assert lesion.box == (*places.min(axis=0), *(places.max(axis=0) + 1))


@BOTH
def test_lesions_measure_between_4_and_30_mm_and_number_one_to_six(kind: str) -> None:
    for seed in range(3):
        phantom = small(kind, seed)
        assert 1 <= len(phantom.lesions) <= 6
        for lesion in phantom.lesions:
            assert 4.0 <= lesion.diameter_mm <= 30.0


def grids(geometry: Geometry) -> list[Geometry]:
    """The same region on an upright, a flipped, and a permuted grid."""
    return [
        geometry.reoriented(AxisMap((1, 2, 0), (True, False, True))),
        geometry.reoriented(AxisMap((0, 1, 2), (True, True, True))),
    ]


@BOTH
def test_a_patient_on_flipped_and_permuted_grids_has_the_same_truth(kind: str) -> None:
    upright = small(kind, 7)
    for geometry in grids(upright.volume.geometry):
        other = KINDS[kind](7, geometry=geometry)
        axes = geometry.axis_map_to(upright.volume.geometry.orientation)
        assert np.mean(axes.apply(other.truth) != upright.truth) < 1e-6
        assert [o.centre_ras_mm for o in other.lesions] == [
            u.centre_ras_mm for u in upright.lesions
        ]


@BOTH
def test_a_patient_on_an_oblique_grid_has_its_lesions_at_the_same_places_in_ras(
    kind: str,
) -> None:
    spacing = (2.0, 2.0, 2.0)
    upright = KINDS[kind](9, spacing_kji_mm=spacing)
    oblique = KINDS[kind](9, spacing_kji_mm=spacing, oblique=True)
    assert oblique.volume.geometry.is_oblique
    here, there = centroids_ras(upright), centroids_ras(oblique)
    shared = set(here) & set(there)
    assert shared
    for value in shared:
        assert np.abs(here[value] - there[value]).max() <= 1.0
        planned = next(one for one in upright.lesions if one.value == value)
        assert np.linalg.norm(here[value] - planned.centre_ras_mm) <= 1.0


def close_up(kind: str, seed: int, centre_ras_mm: tuple[float, float, float]) -> Phantom:
    """The patient once more, on a fine grid of 36 mm around one place."""
    origin = np.array(centre_ras_mm) - 17.5
    return KINDS[kind](seed, geometry=Geometry.from_axes((36,) * 3, (1.0,) * 3, origin))


@BOTH
def test_the_stated_place_and_diameter_are_those_of_the_truth_on_a_fine_grid(kind: str) -> None:
    planned = small(kind, 2).lesions[0]
    phantom = close_up(kind, 2, planned.centre_ras_mm)
    points = np.argwhere(phantom.truth == planned.value).astype(float)
    longest = max(np.linalg.norm(points - point, axis=1).max() for point in points)
    assert abs(longest - planned.diameter_mm) <= 2.0
    centre = phantom.volume.geometry.index_to_ras(points.mean(axis=0))
    assert np.linalg.norm(centre - planned.centre_ras_mm) <= 0.5


def mean_in(phantom: Phantom, place_ras: tuple[float, float, float], radius_mm: float) -> float:
    volume = phantom.volume
    k, j, i = np.indices(volume.array.shape)
    places = volume.geometry.index_to_ras(np.stack([k, j, i], axis=-1))
    near = np.linalg.norm(places - place_ras, axis=-1) <= radius_mm
    return float(volume.array[near & (phantom.truth == 0)].mean())


def test_chest_values_are_those_of_lung_fat_bone_and_air() -> None:
    array = small("chest", 1).volume.array
    assert array.dtype == np.int16
    middle = array[array.shape[0] // 2]
    assert (middle > 250).any()  # bone
    counts, edges = np.histogram(array, bins=np.arange(-1025, 400, 25))
    lung = (edges[:-1] > -900) & (edges[:-1] < -780)
    fat = (edges[:-1] > -130) & (edges[:-1] < -70)
    gap = (edges[:-1] > -500) & (edges[:-1] < -250)
    assert counts[lung].max() > 5 * counts[gap].max()
    assert counts[fat].max() > 1.5 * counts[gap].max()
    assert counts[:3].sum() > 0.2 * array.size  # air around the patient


def test_the_heart_lies_left_the_spine_behind_and_the_liver_right() -> None:
    phantom = small("chest", 1)
    left, right = (mean_in(phantom, (side * 55.0, 22.0, -45.0), 6) for side in (-1, 1))
    assert left > 0
    assert right < -500
    assert mean_in(phantom, (0.0, -52.0, 20.0), 8) > 120  # vertebral body, behind
    assert mean_in(phantom, (75.0, 8.0, -120.0), 8) > 30  # liver
    for side in (-1, 1):
        assert mean_in(phantom, (side * 62.0, -10.0, 60.0), 8) < -600  # both lungs, above


def test_the_face_is_in_front_and_the_cerebellum_behind() -> None:
    phantom = small("brain", 0)
    middle = mean_in(phantom, (0.0, -50.0, -46.0), 8)
    outside = mean_in(phantom, (0.0, 120.0, 60.0), 5)
    assert middle > 5 * outside
    nose, nape = (mean_in(phantom, (0.0, y, -62.0), 6) for y in (100.0, -110.0))
    assert nose > 3 * nape


@BOTH
def test_a_random_grid_stays_small_enough_for_a_demo(kind: str) -> None:
    phantom = KINDS[kind](0)
    assert phantom.volume.array.size <= 6.3e6
    assert phantom.volume.geometry.orientation == "LPS"


def test_nodules_stand_out_from_the_lung() -> None:
    planned = small("chest", 11).lesions[0]
    phantom = close_up("chest", 11, planned.centre_ras_mm)
    inside = phantom.volume.array[phantom.truth == planned.value]
    assert np.percentile(inside, 80) > -650


@BOTH
def test_lesions_never_touch_each_other(kind: str) -> None:
    phantom = small(kind, 6, lesion_count=(6, 6))
    centres = [np.array(lesion.centre_ras_mm) for lesion in phantom.lesions]
    radii = [lesion.diameter_mm / 2 for lesion in phantom.lesions]
    for a, b in itertools.combinations(range(len(centres)), 2):
        assert np.linalg.norm(centres[a] - centres[b]) > radii[a] + radii[b]
