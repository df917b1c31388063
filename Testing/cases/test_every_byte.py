"""Whatever single byte is lost or changed, a file is read or refused, and never half read.

The positions are enumerated, not sampled.
"""

import gzip

import numpy as np
import pytest
from made_dicom import image, raw
from made_files import good_array, meta_bytes, nifti_bytes, nrrd_bytes, put

from MedDetectLib.cases.image_files import ACCEPTABLE, read_volume
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.volume import Volume

LIMIT = 1 << 24


def _dicom() -> bytes:
    plane = np.arange(12, dtype=np.uint16).reshape(3, 4)
    return raw(image(plane, ImagePositionPatient=[1, 2, 3], InstanceNumber=1))


FILES = {
    "a.nii": nifti_bytes(good_array()),
    "a.nii.gz": gzip.compress(nifti_bytes(good_array()), mtime=0),
    "b.nii": nifti_bytes(good_array(), version=2),
    "a.nrrd": nrrd_bytes(good_array()),
    "b.nrrd": nrrd_bytes(good_array(), encoding="gzip"),
    "a.mha": meta_bytes(good_array()),
    "a.dcm": _dicom(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_at_any_byte_is_refused_whatever_is_accepted(name, tmp_path):
    whole = FILES[name]
    for length in range(len(whole)):
        path = put(tmp_path, name, whole[:length])
        with pytest.raises(InputError) as caught:
            read_volume(path, accept=ACCEPTABLE, memory_limit_bytes=LIMIT)
        assert "\n" not in str(caught.value), length


@pytest.mark.parametrize("spoil", [lambda b: b ^ 0xFF, lambda b: b ^ 1])
@pytest.mark.parametrize("name", FILES)
def test_a_file_with_any_byte_changed_is_read_or_refused_in_one_line(name, spoil, tmp_path):
    whole = FILES[name]
    for place in range(min(len(whole), 1400)):
        data = bytearray(whole)
        data[place] = spoil(data[place])
        path = put(tmp_path, name, bytes(data))
        try:
            volume = read_volume(path, memory_limit_bytes=LIMIT)
        except InputError as error:
            assert "\n" not in str(error), place  # noqa: PT017
        else:
            assert isinstance(volume, Volume), place


def test_one_changed_byte_of_compressed_data_never_changes_a_voxel(tmp_path):
    whole = FILES["a.nii.gz"]
    for place in range(10, len(whole)):
        data = bytearray(whole)
        data[place] ^= 0x10
        path = put(tmp_path, "a.nii.gz", bytes(data))
        try:
            volume = read_volume(path, memory_limit_bytes=LIMIT)
        except InputError:
            continue
        np.testing.assert_array_equal(volume.array, good_array())  # padding bits of deflate
