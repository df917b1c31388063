"""Every real volume, how it is read, and where its brightest voxel lies by another reading.

The landmark is found without MedDetect's readers: from the DICOM tags of the one file or
frame it is in, or with nibabel's affine, or from an NRRD header by hand.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom


@dataclass(frozen=True)
class Case:
    """One volume: file or archive, folder inside the archive, and how to read it."""

    path: str
    inside: str = ""
    series: str | None = None
    accept: tuple[str, ...] = ()
    modality: str | None = None

    @property
    def name(self):
        return " ".join(filter(None, [Path(self.path).name, Path(self.inside).name, self.series]))


_BRTUM = "mr_enhanced_multiframe/nema_BRTUM_flair_t2_t1_t1gd.tar.xz"
_XA10 = "mr_enhanced_multiframe/siemens_xa10_4d.tar.xz"
_DCE = "mr_dce_4d_dicom/UCSF-BR-06_dce.tar.xz"

CASES = [
    Case("mr_t1_conformed/t1_crop.nii.gz", modality="MR"),
    Case("ct_torso_multiorgan/example_ct.nii.gz", modality="CT"),
    Case("ct_torso_multiorgan/example_mr_sm.nii.gz", modality="MR"),
    Case("mr_tumour_t1gd/brain1_image.nrrd", modality="MR"),
    Case("mr_spine_t2/t2.nii.gz", modality="MR"),
    Case("geometry_small/example4d.nii.gz", series="#1", modality="MR"),
    Case("geometry_small/example4d.nii.gz", series="#2", modality="MR"),
    Case("ct_abdomen_dicom/CRLM-CT-1004.tar.xz", "CRLM-CT-1004"),
    Case("ct_chest_rtstruct_small/ibsi1_phantom_dicom.tar.xz", "ibsi/image"),
    Case("dicom_seg_sr_small/dcmqi_seg.tar.xz", "dcmqi_seg/ct-3slice"),
    Case("geometry_small/slicer_cthead_64.tar.xz", "slicer_cthead"),
    *(Case(_BRTUM, series=f"{n}.1166546115.14677") for n in (3, 4, 5, 8)),
    *(Case(_XA10, "xa10", series=f"UID#{n}") for n in (1, 2, 3, 4)),
    *(Case(_DCE, "image_dce_3dfgre_orig", series=f"UID#{n}") for n in (1, 2, 3)),
]


def brightest_in_dicom(folder, uid_end="", phase=None):
    """Return (value, LPS mm) of the brightest pixel, by the tags of its file or frame.

    `phase` (index, count) keeps only that share of the files, by InstanceNumber.
    """
    files = [pydicom.dcmread(path) for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    files = [f for f in files if "PixelData" in f and f.SeriesInstanceUID.endswith(uid_end)]
    files.sort(key=lambda f: int(f.InstanceNumber))
    if phase is not None:
        index, count = phase
        size = len(files) // count
        files = files[index * size : (index + 1) * size]
    best = None
    for file in files:
        for pixels, tags in _frames(file):
            value = float(pixels.max())
            if best is None or value > best[0]:
                row, column = np.unravel_index(pixels.argmax(), pixels.shape)
                best = value, _place_lps(tags, row, column)
    return best


def _frames(file):
    pixels = file.pixel_array.astype(float)
    if "PerFrameFunctionalGroupsSequence" not in file:
        slope = float(file.get("RescaleSlope", 1))
        yield pixels * slope + float(file.get("RescaleIntercept", 0)), file
        return
    shared = file.SharedFunctionalGroupsSequence[0]
    for frame, own in zip(pixels, file.PerFrameFunctionalGroupsSequence, strict=True):

        def group(name, own=own):
            return getattr(own if name in own else shared, name)[0]

        tags = pydicom.Dataset()
        tags.ImagePositionPatient = group("PlanePositionSequence").ImagePositionPatient
        tags.ImageOrientationPatient = group("PlaneOrientationSequence").ImageOrientationPatient
        tags.PixelSpacing = group("PixelMeasuresSequence").PixelSpacing
        slope, intercept = 1.0, 0.0
        if (
            "PixelValueTransformationSequence" in own
            or "PixelValueTransformationSequence" in shared
        ):
            change = group("PixelValueTransformationSequence")
            slope, intercept = float(change.RescaleSlope), float(change.RescaleIntercept)
        yield frame * slope + intercept, tags


def _place_lps(tags, row, column):
    along_row = np.array(tags.ImageOrientationPatient[:3], float)
    down_column = np.array(tags.ImageOrientationPatient[3:], float)
    between_rows, between_columns = (float(x) for x in tags.PixelSpacing)
    start = np.array(tags.ImagePositionPatient, float)
    return start + along_row * column * between_columns + down_column * row * between_rows
