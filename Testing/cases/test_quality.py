"""What the intake of nodes shares with the intake of files, and small tools."""

import numpy as np
import pytest
import SimpleITK
from made_findings import oblique

from MedDetectLib.cases.lps import (
    from_sitk,
    geometry_from_lps,
    lps_parts,
    points_flipped,
    ras_from_lps,
    to_sitk,
)
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.memory import available_bytes, bytes_text, require_memory
from MedDetectLib.core.quality import ACCEPTABLE, check_voxels
from MedDetectLib.core.volume import Volume


def _volume(**changes):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for place, value in changes.get("at", {}).items():
        array[place] = value
    return Volume(array, oblique((2, 3, 4)), name="node")


def test_a_good_volume_passes_unchanged():
    volume = _volume()
    assert check_voxels(volume).array is volume.array
    assert check_voxels(volume).notes == ()


def test_voxels_that_are_no_numbers_are_refused_with_their_place_and_count():
    volume = _volume(at={(1, 2, 3): np.nan, (1, 0, 0): -np.inf})
    with pytest.raises(InputError, match=r"2 voxels.*slice 1, row 0, column 0") as caught:
        check_voxels(volume)
    assert (caught.value.code, caught.value.where) == ("not-finite", "node")


def test_accepted_they_become_the_lowest_finite_value_and_are_noted():
    volume = _volume(at={(0, 0, 0): np.nan, (1, 2, 3): np.inf})
    checked = check_voxels(volume, ["not-finite"])
    assert checked.array[0, 0, 0] == checked.array[1, 2, 3] == 1
    assert checked.array.dtype == np.float32
    assert [note.code for note in checked.notes] == ["not-finite"]
    assert np.isnan(volume.array[0, 0, 0])  # the caller's array is left alone


def test_an_image_without_contrast_is_flagged():
    volume = Volume(np.full((2, 2, 2), -1024, np.int16), oblique((2, 2, 2)))
    checked = check_voxels(volume)
    assert [note.code for note in checked.notes] == ["constant-image"]
    assert check_voxels(checked).notes == checked.notes


def test_an_unknown_code_is_refused_with_the_table():
    with pytest.raises(InputError) as caught:
        check_voxels(_volume(), ["nan"])
    assert caught.value.code == "unknown-accept"
    assert all(code in str(caught.value) for code in ACCEPTABLE)


def test_lps_and_ras_are_each_others_flip():
    geometry = oblique((4, 5, 6))
    origin, spacing, direction = lps_parts(geometry)
    assert geometry_from_lps((4, 5, 6), origin, spacing, direction).is_close(geometry, 1e-9)
    np.testing.assert_array_equal(ras_from_lps(ras_from_lps(geometry.ijk_to_ras)),
                                  geometry.ijk_to_ras)  # fmt: skip
    np.testing.assert_array_equal(points_flipped([[1, 2, 3]]), [[-1, -2, 3]])


def test_a_corner_voxel_keeps_its_place_through_simpleitk():
    geometry = oblique((4, 5, 6))
    array = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    image = to_sitk(Volume(array, geometry))
    place = image.TransformIndexToPhysicalPoint((5, 4, 3))
    np.testing.assert_allclose(points_flipped(place), geometry.index_to_ras([3, 4, 5]))
    assert image[5, 4, 3] == array[3, 4, 5]
    again, back = from_sitk(image)
    np.testing.assert_array_equal(again, array)
    assert back.is_close(geometry, 1e-9)
    assert to_sitk(array > 3, geometry).GetPixelID() == SimpleITK.sitkUInt8


def test_what_memory_holds_is_known_and_more_is_refused():
    assert 2**20 < available_bytes() < 2**62
    require_memory(1000, 1000, what="the header")
    with pytest.raises(InputError, match=r"2\.0 KiB.*1000 bytes") as caught:
        require_memory(2048, 1000, what="the header", where="scan.nii")
    assert caught.value.code == "too-large"
    assert bytes_text(2**45) == "32.0 TiB"
