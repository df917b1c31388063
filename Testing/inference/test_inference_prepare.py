from __future__ import annotations

import numpy as np
import pytest

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference import prepare as prepare_module
from MedDetectLib.inference.prepare import prepare

ANCHORS = ("edges", "first_centre")
OWN_SHAPE, OWN_SPACING, ORIGIN = (6, 9, 7), (3.1, 0.8, 1.3), (-40.0, 17.0, 55.0)


def ramp(geometry, places_of, axis):
    return Volume(places_of(geometry)[..., axis].astype(np.float32), geometry)


def check_ramps(geometry, card, places_of):
    """A ramp along each patient axis must read its own RAS coordinate on the model's grid."""
    for axis in range(3):
        prepared = prepare(ramp(geometry, places_of, axis), card)
        places = places_of(prepared.geometry)
        index = geometry.ras_to_index(places)
        inside = ((index > -1e-6) & (index < np.array(geometry.shape_kji) - 1 + 1e-6)).all(axis=-1)
        assert inside.mean() > 0.3
        np.testing.assert_allclose(prepared.array[0][inside], places[..., axis][inside], atol=2e-4)
    return prepared


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_ramp_reads_its_own_coordinate_from_all_48_grids(
    card_of, directions_48, places_of, anchor
):
    card = card_of(orientation="LPS", spacing_kji_mm=[1.7, 1.1, 0.9], anchor=anchor, channels=("",))
    for directions in directions_48:
        geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING, ORIGIN, directions)
        prepared = check_ramps(geometry, card, places_of)
        assert prepared.geometry.orientation == "LPS"


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_ramp_reads_its_own_coordinate_in_all_48_orientations_of_the_model(
    card_of, directions_48, places_of, oblique, anchor
):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING, ORIGIN, oblique)
    for directions in directions_48:
        letters = Geometry.from_axes((1, 1, 1), (1, 1, 1), directions_ras=directions).orientation
        card = card_of(
            orientation=letters, spacing_kji_mm=[1.7, 1.1, 0.9], anchor=anchor, channels=("",)
        )
        assert check_ramps(geometry, card, places_of).geometry.orientation == letters


def test_a_ramp_reads_its_own_coordinate_when_fitted_to_a_shape(card_of, places_of, oblique):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING, ORIGIN, oblique)
    card = card_of(orientation="SAR", fit_shape_kji=[13, 5, 9], channels=("",))
    assert check_ramps(geometry, card, places_of).shape_kji == (13, 5, 9)


def test_without_wishes_the_volume_stays_as_it_lies(card_of, oblique):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING, ORIGIN, oblique)
    array = np.random.default_rng(0).normal(size=OWN_SHAPE).astype(np.float32)
    prepared = prepare(Volume(array, geometry), card_of(channels=("",)))
    np.testing.assert_array_equal(prepared.array[0], array)
    assert prepared.geometry.is_close(geometry, 1e-9)


def test_preparing_leaves_the_volume_alone(card_of):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING)
    for dtype in (np.float32, np.int16, np.float64):
        array = np.arange(np.prod(OWN_SHAPE)).reshape(OWN_SHAPE).astype(dtype)
        before = array.copy()
        steps = [{"step": "z_score"}, {"step": "clip", "low": -1, "high": 1}]
        prepare(Volume(array, geometry), card_of(intensity=steps, channels=("",)))
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("order", ["before_resample", "after_resample"])
def test_statistics_are_taken_before_or_after_resampling_as_the_card_says(card_of, order):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING)
    volume = Volume(np.random.default_rng(0).normal(5, 9, OWN_SHAPE), geometry)
    plain = card_of(spacing_kji_mm=[2.0, 2.0, 2.0], channels=("",))
    card = card_of(
        spacing_kji_mm=[2.0, 2.0, 2.0], channels=("",), normalise=order,
        intensity=[{"step": "z_score"}],
    )  # fmt: skip
    resampled = prepare(volume, plain).array[0].astype(float)
    source = volume.array if order == "before_resample" else resampled
    expected = (resampled - source.mean()) / source.std()
    np.testing.assert_allclose(prepare(volume, card).array[0], expected, atol=1e-4)


@pytest.mark.parametrize("anchor", ANCHORS)
def test_boxes_come_home_to_the_same_patient_place_from_all_48_grids(
    card_of, directions_48, oblique, anchor
):
    rng = np.random.default_rng(7)
    card = card_of(orientation="PIR", spacing_kji_mm=[1.7, 1.1, 0.9], anchor=anchor, channels=("",))
    for turn in (np.eye(3), oblique):
        for directions in directions_48:
            geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING, ORIGIN, turn @ directions)
            prepared = prepare(Volume(np.zeros(OWN_SHAPE), geometry), card)
            low = rng.uniform(-1, prepared.shape_kji, (4, 3))
            boxes = np.hstack([low, low + rng.uniform(0.2, 4, (4, 3))])
            home = prepared.restore_boxes(boxes)
            assert (home[:, 3:] > home[:, :3]).all()
            for box, own in zip(boxes, home, strict=True):
                there = prepared.geometry.box_corners_ras_mm(box)
                here = geometry.box_corners_ras_mm(own)
                gaps = np.linalg.norm(there[:, None] - here[None], axis=-1)
                assert gaps.min(axis=0).max() < 1e-4
                assert gaps.min(axis=1).max() < 1e-4


@pytest.mark.parametrize("anchor", ANCHORS)
def test_the_grid_itself_as_a_box_comes_home_as_the_grid(card_of, anchor):
    geometry = Geometry.from_axes((4, 8, 6), (3.0, 1.0, 2.0))
    card = card_of(spacing_kji_mm=[1.0, 0.5, 1.0], anchor=anchor, channels=("",))
    prepared = prepare(Volume(np.zeros((4, 8, 6)), geometry), card)
    home = prepared.restore_boxes(np.array([[0.0] * 3 + list(prepared.shape_kji)]))
    if anchor == "edges":
        np.testing.assert_allclose(home[0], [0, 0, 0, 4, 8, 6])
    else:
        half = 0.5 - 0.5 * np.array([1 / 3, 0.5, 0.5])
        np.testing.assert_allclose(home[0], [*half, *(np.array([4, 8, 6]) - half)])


def test_an_array_on_the_turned_grid_comes_home_exactly(card_of, directions_48):
    array = np.random.default_rng(0).integers(0, 9, OWN_SHAPE)
    for directions in directions_48:
        geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING, ORIGIN, directions)
        prepared = prepare(Volume(array, geometry), card_of(orientation="SLA", channels=("",)))
        home = prepared.restore_array(prepared.array[0])
        np.testing.assert_array_equal(home, array)
        assert home.flags.c_contiguous


def test_each_channel_is_normalised_by_itself_and_kept_in_order(card_of):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING)
    volumes = [Volume(np.full(OWN_SHAPE, n), geometry, m) for n, m in enumerate(("MR", "CT"))]
    prepared = prepare(volumes, card_of(channels=("MR", "CT")))
    assert prepared.array.shape == (2, *OWN_SHAPE)
    assert [channel.max() for channel in prepared.array] == [0, 1]


def test_the_wrong_number_of_volumes_is_refused(card_of):
    volume = Volume(np.zeros(OWN_SHAPE), Geometry.from_axes(OWN_SHAPE, OWN_SPACING), "CT")
    for given, wanted in (([], ("CT",)), ([volume] * 2, ("CT",)), (volume, ("CT", "MR"))):
        with pytest.raises(InputError, match="wrong-channels"):
            prepare(given, card_of(channels=wanted))


def test_channels_on_different_grids_are_refused(card_of):
    one = Volume(np.zeros(OWN_SHAPE), Geometry.from_axes(OWN_SHAPE, OWN_SPACING), "CT")
    moved = Volume(np.zeros(OWN_SHAPE), Geometry.from_axes(OWN_SHAPE, OWN_SPACING, (0, 0, 1)), "CT")
    other = Volume(np.zeros((6, 9, 8)), Geometry.from_axes((6, 9, 8), OWN_SPACING), "CT")
    card = card_of(channels=("CT", "CT"))
    with pytest.raises(InputError, match=r"grids-differ.*corners are up to 1 mm away"):
        prepare([one, moved], card)
    with pytest.raises(InputError, match=r"grids-differ.*6 x 9 x 8 voxels instead of 6 x 9 x 7"):
        prepare([one, other], card)


def test_the_wrong_modality_is_refused_and_an_unknown_one_noted(card_of):
    geometry = Geometry.from_axes(OWN_SHAPE, OWN_SPACING)
    with pytest.raises(InputError, match="wrong-modality"):
        prepare(Volume(np.zeros(OWN_SHAPE), geometry, "MR"), card_of())
    assert prepare(Volume(np.zeros(OWN_SHAPE), geometry, "CT"), card_of()).notes == ()
    notes = prepare(Volume(np.zeros(OWN_SHAPE), geometry, "", "v"), card_of()).notes
    assert notes == (Note("modality-unknown", "'v' does not say what it is; taken for CT"),)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_voxels_that_are_not_float32_numbers_are_refused(card_of, bad):
    array = np.zeros(OWN_SHAPE, np.float64)
    array[2, 3, 4] = bad
    with pytest.raises(InputError, match="not-finite"):
        prepare(Volume(array, Geometry.from_axes(OWN_SHAPE, OWN_SPACING), "CT"), card_of())


@pytest.mark.parametrize("changes", [{"spacing_kji_mm": [1e-9, 1.0, 1.0]},
                                     {"spacing_kji_mm": [1e-300] * 3},
                                     {"fit_shape_kji": [4096] * 3}])  # fmt: skip
def test_a_model_grid_beyond_memory_is_refused_before_it_is_made(card_of, monkeypatch, changes):
    def resample(*_):
        raise AssertionError("must not be reached")

    monkeypatch.setattr(prepare_module, "resample", resample)
    monkeypatch.setattr(prepare_module, "taps_between", resample)
    volume = Volume(np.zeros(OWN_SHAPE), Geometry.from_axes(OWN_SHAPE, OWN_SPACING), "CT")
    with pytest.raises(InputError, match="too-large"):
        prepare(volume, card_of(**changes))


@pytest.mark.parametrize(
    ("shape", "spacing", "window", "is_thin"),
    [
        ((1, 9, 9), (5.0, 1.0, 1.0), (8, 8, 8), True),
        ((1, 9, 9), (5.0, 1.0, 1.0), (1, 8, 8), False),  # a model of single slices
        ((20, 30, 30), (1e-3, 1e-3, 1e-3), (8, 8, 8), True),  # metres taken for millimetres
        ((3, 30, 30), (0.3, 0.3, 0.3), (8, 8, 8), True),
        ((3, 9, 9), (5.0, 1.0, 1.0), (8, 8, 8), False),
    ],
)
def test_an_image_one_voxel_thick_for_the_model_is_remarked(
    card_of, shape, spacing, window, is_thin
):
    card = card_of(spacing_kji_mm=[1.5, 1.0, 1.0], window=window, channels=("",))
    volume = Volume(np.zeros(shape, np.int16), Geometry.from_axes(shape, spacing), "", "scan")
    codes = [note.code for note in prepare(volume, card).notes]
    assert codes == ["thin-volume"] * is_thin


def test_resampling_on_random_grids_is_what_simpleitk_does(card_of, directions_48):
    """Oblique, flipped, permuted, left-handed, one voxel thin; boxes come home too."""
    sitk = pytest.importorskip("SimpleITK")
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as some

    to_lps = np.diag([-1.0, -1.0, 1.0])

    def as_sitk(array, geometry):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing([float(mm) for mm in geometry.spacing_kji_mm[::-1]])
        image.SetOrigin((to_lps @ geometry.origin_ras_mm).tolist())
        image.SetDirection((to_lps @ geometry.directions_ras).ravel().tolist())
        return image

    size, mm = some.integers(1, 14), some.floats(0.4, 6.0)
    triple = some.tuples(mm, mm, mm)

    @hypothesis.settings(max_examples=60, deadline=None)
    @hypothesis.given(
        shape=some.tuples(size, size, size),
        spacing=triple,
        wanted=triple,
        place=some.integers(0, 47),
        target=some.integers(0, 47),
        turn=some.tuples(*[some.floats(-0.4, 0.4)] * 3),
        anchor=some.sampled_from(ANCHORS),
        seed=some.integers(0, 99),
    )
    def check(shape, spacing, wanted, place, target, turn, anchor, seed):
        rng = np.random.default_rng(seed)
        x, y, z = turn
        skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        turned = np.linalg.solve(np.eye(3) - skew, np.eye(3) + skew)  # Cayley: a rotation
        own = Geometry.from_axes(shape, spacing, (30.0, -70.0, 11.0), turned @ directions_48[place])
        letters = Geometry.from_axes((1, 1, 1), (1, 1, 1), (0, 0, 0), directions_48[target])
        card = card_of(
            orientation=letters.orientation, spacing_kji_mm=list(wanted), anchor=anchor,
            channels=("",),
        )  # fmt: skip
        array = rng.normal(size=shape).astype(np.float32)
        prepared = prepare(Volume(array, own), card)
        there = as_sitk(prepared.array[0], prepared.geometry)
        peer = sitk.GetArrayFromImage(
            sitk.Resample(
                as_sitk(array, own), there, sitk.Transform(), sitk.sitkLinear, float("nan")
            )
        )
        inside = np.isfinite(peer)  # beyond the outermost centres we repeat, ITK gives up
        np.testing.assert_allclose(prepared.array[0][inside], peer[inside], atol=1e-4)
        box = np.sort(rng.uniform(0, 1, (2, 3)), axis=0) * prepared.shape_kji
        home = prepared.restore_boxes(box.reshape(1, 6))[0]
        corners = prepared.geometry.box_corners_ras_mm(box.ravel())
        apart = np.linalg.norm(corners[:, None] - own.box_corners_ras_mm(home)[None], axis=-1)
        assert apart.min(axis=1).max() < 1e-6

    check()


@pytest.mark.parametrize("seed", range(8))
def test_a_network_of_monais_is_given_what_monai_gives_it(card_of, directions_48, oblique, seed):
    """Its tensors lie x, y, z towards R, A, S; in a card that is SAR."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    from monai.data import MetaTensor
    from monai.transforms import Compose, Orientation, Spacing

    rng = np.random.default_rng(seed)
    directions = directions_48[rng.integers(48)]
    geometry = Geometry.from_axes(
        rng.integers(1 if seed == 0 else 4, 14, 3),
        rng.uniform(0.5, 4.0, 3),
        rng.normal(size=3) * 40,
        oblique @ directions if seed % 2 else directions,
    )
    array = rng.normal(size=geometry.shape_kji).astype(np.float32)
    pixdim = rng.uniform(0.6, 4.0, 3).tolist()
    voxels = torch.from_numpy(np.ascontiguousarray(array.T))[None]  # [x, y, z], as MONAI loads
    given = MetaTensor(voxels, affine=torch.tensor(geometry.ijk_to_ras))
    spacing = Spacing(pixdim, mode="bilinear", padding_mode="border", dtype=torch.float64)
    theirs = Compose([Orientation("RAS", labels=None), spacing])(given)
    card = card_of(orientation="SAR", spacing_kji_mm=pixdim, anchor="first_centre", channels=("",))
    prepared = prepare(Volume(array, geometry), card)
    np.testing.assert_allclose(prepared.array, theirs.numpy(), atol=1e-5)
    columns = prepared.geometry.ijk_to_ras[:, [2, 1, 0, 3]]
    np.testing.assert_allclose(columns, theirs.affine.numpy(), atol=1e-4)
