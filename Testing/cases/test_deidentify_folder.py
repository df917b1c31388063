"""De-identified folders: what leaves, what is set aside, the key, and the proof."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import made_dicom
import numpy as np
import pydicom
import pytest
from deidentify_samples import WORDS, datasets, everything, filled, identified_series, raw_of
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.deidentify.folder import Options, deidentify_folder
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.profile_table import ROWS, TABLE_SHA256
from MedDetectLib.cases.deidentify.suspicion import ALWAYS, REASONS, reasons_against
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.core.errors import InputError, StoreError

IDENTIFYING = [
    "müller", "muller", "josephine", "kh-4711-22", "19560317", "20170605", "20170606", "acc778899",
    "elsewhere", "freud", "nightingale", "ctroom-7", "sn556677", "st-9981", "1.2.276.0.99",
    "acme m", "preamble",
]  # fmt: skip


@pytest.fixture
def scans(tmp_path):
    """A folder with a series full of identity, in a file tree that tells it too."""
    folder = tmp_path / "in" / "Müller Josephine 1956"
    made_dicom.write(folder, identified_series(), "KH-4711-22_")
    return tmp_path / "in"


@pytest.fixture
def cleaned(scans, tmp_path):
    """De-identify the scans; give the folder, the proof and the key."""

    def run(**options):
        key = tmp_path / "keys" / "key.json"
        proof = deidentify_folder(scans, tmp_path / "out", key, Options(**options))
        return tmp_path / "out", proof, json.loads(key.read_text())

    return run


def identifying_in(folder):
    data = everything(folder)
    return [
        word for word in IDENTIFYING
        for raw in {word.encode(), word.encode("latin-1"), word.encode("utf-16-le")} if raw in data
    ]  # fmt: skip


# --- what leaves ------------------------------------------------------------------------


def test_nothing_of_the_patient_is_left_in_any_byte_or_file_name(cleaned):
    out, proof, _ = cleaned()
    assert proof.files == 4
    assert identifying_in(out) == []


def test_the_image_is_still_read_and_is_the_same_to_the_voxel(scans, cleaned):
    before = read_volume(scans, modality="CT")
    out, _, _ = cleaned()
    after = read_volume(out)
    np.testing.assert_array_equal(after.array, before.array)
    assert after.geometry.is_close(before.geometry, 1e-9)
    assert after.modality == "CT"


def test_what_the_standard_asks_of_a_deidentifier_is_stated_in_each_object(cleaned):
    out, _, _ = cleaned()
    for data in datasets(out):
        assert data.PatientIdentityRemoved == "YES"
        assert "MedDetect" in data.DeidentificationMethod[0]
        (code,) = data.DeidentificationMethodCodeSequence
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
        assert data.LongitudinalTemporalInformationModified == "REMOVED"
        assert data.PatientID == data.PatientName
        assert data.Manufacturer == "ACME"
        assert data.BodyPartExamined == "CHEST"


def test_references_between_objects_still_point_to_each_other(cleaned):
    out, _, key = cleaned()
    images = datasets(out)
    assert len({image.SeriesInstanceUID for image in images}) == 1
    uids = {image.SOPInstanceUID for image in images}
    assert len(uids) == 4
    assert {i.SourceImageSequence[0].ReferencedSOPInstanceUID for i in images} <= uids
    for image in images:
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
    assert set(key["uids"].values()) > uids


def test_every_row_of_the_table_at_once_goes_through_a_file_and_is_found_nowhere(tmp_path):
    data = identified_series()[0]
    for tag in ROWS:
        if tag >> 16 > 2:
            data.add(filled(tag))
    inner = Dataset()
    for tag in ROWS:
        if tag >> 16 > 2:
            inner.add(filled(tag))
    data.AnatomicRegionSequence = Sequence([inner])
    data.SOPInstanceUID = "1.2.276.0.99.7"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.276.0.99.7"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(raw_of(data))
    accept = frozenset({"structured-content", "encapsulated-document"})
    for shift in (False, True):
        out = tmp_path / f"out-{shift}"
        proof = deidentify_folder(
            tmp_path / "in", out, tmp_path / "key", Options(accept=accept, shift_dates=shift)
        )
        assert proof.files == 1
        found = everything(out)
        assert [word for word in WORDS if word in found] == []
        assert sum(proof.data["actions"].values()) > 2 * len(ROWS) - 20


# --- dates ------------------------------------------------------------------------------


def test_dates_move_by_the_same_days_for_all_of_a_patient_and_the_key_tells_by_how_many(cleaned):
    out, _, key = cleaned(shift_dates=True)
    import datetime

    days = {p["shift_days"] for p in key["patients"].values()}
    (shift,) = days
    expected = datetime.date(2017, 6, 5) + datetime.timedelta(days=shift)
    for data in datasets(out):
        assert data.StudyDate == expected.strftime("%Y%m%d")
        assert data.AcquisitionDateTime.endswith("093011.25")
        assert [c.CodeValue for c in data.DeidentificationMethodCodeSequence] == [
            "113100", "113107",
        ]  # fmt: skip
        assert not data.PatientBirthDate
    assert identifying_in(out) == []


# --- the key ----------------------------------------------------------------------------


def test_the_key_is_readable_by_its_owner_only_and_tells_who_became_whom(cleaned, tmp_path):
    out, _, key = cleaned()
    path = tmp_path / "keys" / "key.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "KH-4711-22|" in key["patients"]
    (run,) = key["runs"]
    assert len(run["files"]) == 4
    assert all("Müller" in original for original in run["files"].values())
    assert not any(p.name.startswith("key") for p in out.rglob("*"))


def test_a_later_run_with_the_same_key_gives_the_same_pseudonyms(scans, cleaned, tmp_path):
    first, _, _ = cleaned()
    key = tmp_path / "keys" / "key.json"
    deidentify_folder(scans, tmp_path / "again", key)
    for one, two in zip(datasets(first), datasets(tmp_path / "again"), strict=True):
        assert one == two
    deidentify_folder(scans, tmp_path / "other", tmp_path / "keys" / "other.json")
    assert {d.PatientID for d in datasets(tmp_path / "other")}.isdisjoint(
        d.PatientID for d in datasets(first)
    )


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code"),
    [
        (lambda at: at / "out" / "key", "key-inside", 77),
        (lambda at: at / "open", "key-open", 77),
        (lambda at: at / "foreign", "bad-key", 65),
    ],
)
def test_a_key_in_the_wrong_place_or_hands_is_refused(scans, tmp_path, spoil, code, exit_code):
    for name, mode in (("open", 0o644), ("foreign", 0o600)):
        (tmp_path / name).write_text("{}")
        (tmp_path / name).chmod(mode)
    with pytest.raises(InputError) as caught:
        deidentify_folder(scans, tmp_path / "out", spoil(tmp_path))
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert not (tmp_path / "out").exists()


def test_a_key_in_use_by_another_run_is_busy(scans, tmp_path):
    from MedDetectLib.cases.deidentify.key_file import open_key

    with open_key(tmp_path / "key", tmp_path / "out"), pytest.raises(StoreError) as caught:
        deidentify_folder(scans, tmp_path / "out", tmp_path / "key")
    assert (caught.value.code, caught.value.exit_code) == ("busy", 75)


# --- set aside --------------------------------------------------------------------------

SC = "1.2.840.10008.5.1.4.1.1.7"
SUSPECT = {
    "burned-in-annotation": {"BurnedInAnnotation": "YES"},
    "recognisable-features": {"RecognizableVisualFeatures": "YES"},
    "secondary-capture": {"SOPClassUID": SC},
    "modality": {"Modality": "US"},
    "colour-pixels": {"PhotometricInterpretation": "RGB"},
    "screen-save": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    "structured-content": {"Modality": "SR"},
    "encapsulated-document": {"EncapsulatedDocument": b"%PDF"},
    "private-object": {"SOPClassUID": "1.3.12.2.1107.5.9.1"},
    "directory": {"SOPClassUID": "1.2.840.10008.1.3.10"},
}


@pytest.mark.parametrize("reason", SUSPECT)
def test_what_may_show_the_name_is_set_aside_with_its_reason(reason, scans, tmp_path):
    bad = identified_series(**SUSPECT[reason])[0]
    (scans / "bad.dcm").write_bytes(raw_of(bad))
    options = Options(quarantine=tmp_path / "aside")
    proof = deidentify_folder(scans, tmp_path / "out", tmp_path / "key", options)
    assert proof.set_aside == {reason: 1}
    assert proof.files == 4
    assert (tmp_path / "aside" / "bad.dcm").read_bytes() == (scans / "bad.dcm").read_bytes()
    assert stat.S_IMODE((tmp_path / "aside").stat().st_mode) == 0o700
    key = json.loads((tmp_path / "key").read_text())
    assert key["runs"][0]["set_aside"] == {"bad.dcm": [reason]}
    if reason not in ALWAYS:
        accept = Options(accept=frozenset({reason}))
        proof = deidentify_folder(scans, tmp_path / "all", tmp_path / "key", accept)
        assert (proof.files, proof.set_aside) == (5, {})
        assert proof.data["options"]["accepted"] == [reason]
        assert identifying_in(tmp_path / "all") == []


def test_an_overlay_hidden_in_the_pixels_is_seen():
    data = identified_series()[0]
    data.add_new(0x60000010, "US", 4)
    data.add_new(0x60000102, "US", 12)
    assert reasons_against(data) == ["overlay-in-pixels"]
    data.add_new(0x60003000, "OW", b"\0\0")
    assert reasons_against(data) == []


def test_a_modality_that_shows_text_may_leave_when_it_says_that_it_shows_none():
    data = identified_series(Modality="US", BurnedInAnnotation="NO")[0]
    assert reasons_against(data) == []


def test_files_that_cannot_be_cleaned_never_leave(scans, tmp_path):
    (scans / "notes.txt").write_text("Josephine Müller")
    (scans / "list.json").write_text('{"patient": "Josephine"}')
    (scans / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (scans / "cut.dcm").write_bytes(raw_of(identified_series()[0])[:700])
    (scans / ".hidden").write_text("Josephine")
    proof = deidentify_folder(scans, tmp_path / "out", tmp_path / "key")
    assert proof.files == 4
    assert sum(proof.set_aside.values()) == 5
    assert proof.set_aside["unknown-kind"] == 3
    assert (proof.set_aside["picture"], proof.set_aside["damaged"]) == (1, 1)
    assert identifying_in(tmp_path / "out") == []


def test_a_name_in_the_pixel_bytes_is_found_and_the_file_set_aside(tmp_path):
    images = identified_series()
    plane = bytearray(images[0].PixelData)
    plane[100:120] = b" KH-4711-22 in bytes"
    images[0].PixelData = bytes(plane)
    made_dicom.write(tmp_path / "in", images)
    proof = deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert proof.set_aside == {"identity-remains": 1}
    assert proof.files == 3


def test_what_one_object_lets_out_about_another_is_found_in_the_end(tmp_path):
    """The name stands in an attribute of a second object that has no name itself."""
    images = identified_series()
    images[1].PatientName = images[1].PatientID = None
    images[1].ImageComments = images[1].StudyDescription = None
    images[1].SoftwareVersions = "as seen by KH-4711-22"
    made_dicom.write(tmp_path / "in", images)
    proof = deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert proof.set_aside == {"identity-remains": 1}
    assert proof.data["checks"]["files_taken_back"] == 1
    assert identifying_in(tmp_path / "out") == []


@pytest.mark.parametrize("charset", [["", "ISO 2022 IR 87"], "ISO_IR 192"])
def test_names_of_other_scripts_are_found_in_texts_that_stay(charset, tmp_path):
    images = identified_series()
    for image in images:
        image.SpecificCharacterSet = charset
        image.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        image.ImageComments = image.private_block(0x0019, "ACME MÜLLER")[1].value = "x"
    images[0].SoftwareVersions = "患者は山田です"
    images[1].PatientName = images[1].PatientID = None
    images[1].SoftwareVersions = "山田太郎 たろうくん Yamada"
    made_dicom.write(tmp_path / "in", images)
    proof = deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert proof.data["actions"]["scrubbed"] == 1
    assert proof.set_aside == {"identity-remains": 1}
    left = everything(tmp_path / "out")
    for name in ("山田", "太郎", "やまだ"):
        for encoding in ("utf-8", "utf-16-le", "euc_jp", "iso2022_jp"):
            assert name.encode(encoding).strip(b"\x1b$B(") not in left


def test_what_is_set_aside_does_not_go_into_the_export(scans, tmp_path):
    (scans / "notes.txt").write_text("Josephine")
    options = Options(quarantine=tmp_path / "out" / "aside")
    with pytest.raises(InputError) as caught:
        deidentify_folder(scans, tmp_path / "out", tmp_path / "key", options)
    assert (caught.value.code, caught.value.exit_code) == ("quarantine-inside", 77)
    assert not (tmp_path / "out").exists()


def test_when_nothing_may_leave_there_is_no_folder(tmp_path):
    made_dicom.write(tmp_path / "in", identified_series(BurnedInAnnotation="YES"))
    with pytest.raises(InputError, match="4 burned-in-annotation"):
        deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert not (tmp_path / "out").exists()


def test_only_reasons_that_can_be_accepted_are():
    for reason in (*ALWAYS, "whatever"):
        with pytest.raises(InputError, match="cannot be accepted"):
            Options(accept=frozenset({reason}))
    assert set(SUSPECT) < set(REASONS)


# --- other files ------------------------------------------------------------------------


def nifti_with_secrets(path, version=1):
    import nibabel

    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = kind(array, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header["descrip"] = b"Josephine 1956"
    image.header["aux_file"] = b"josephine.txt"
    image.header["intent_name"] = b"Josephine"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Josephine M"))
    if version == 1:
        image.header["db_name"] = b"Josephine"
    nibabel.save(image, path)
    return array


@pytest.mark.parametrize(("name", "version"), [("j.nii.gz", 1), ("j.nii", 1), ("j.nii.gz", 2)])
def test_nifti_text_fields_and_extensions_are_emptied_and_voxels_kept(name, version, tmp_path):
    import nibabel

    (tmp_path / "Josephine").mkdir()
    array = nifti_with_secrets(tmp_path / "Josephine" / name, version)
    proof = deidentify_folder(tmp_path / "Josephine", tmp_path / "out", tmp_path / "key")
    assert b"josephine" not in everything(tmp_path / "out")
    (file,) = [p for p in (tmp_path / "out").iterdir() if p.name != "proof.json"]
    image = nibabel.load(file)
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    np.testing.assert_array_equal(image.affine, np.diag([2.0, 3.0, 4.0, 1.0]))
    assert len(image.header.extensions) == 0
    counts = proof.data["files"][file.name]["before"]
    assert {"descrip", "aux_file", "intent_name", "extensions"} <= set(counts)


def test_the_name_in_a_gzip_header_goes_too(tmp_path):
    import gzip

    (tmp_path / "in").mkdir()
    nifti_with_secrets(tmp_path / "a.nii")
    with (
        (tmp_path / "in" / "a.nii.gz").open("wb") as out,
        gzip.GzipFile("josephine.nii", "wb", fileobj=out, mtime=1500000000) as packed,
    ):
        packed.write((tmp_path / "a.nii").read_bytes())
    assert b"josephine.nii" in (tmp_path / "in" / "a.nii.gz").read_bytes()
    deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    data = (tmp_path / "out" / "file-000001.nii.gz").read_bytes()
    assert b"josephine" not in data
    assert data[4:8] == bytes(4)


def test_a_file_packed_in_several_pieces_is_kept_whole(tmp_path):
    import gzip

    import nibabel

    (tmp_path / "in").mkdir()
    array = nifti_with_secrets(tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    pieces = gzip.compress(raw[:400]) + gzip.compress(raw[400:])
    (tmp_path / "in" / "a.nii.gz").write_bytes(pieces)
    deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    image = nibabel.load(tmp_path / "out" / "file-000001.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.nii", b"abc"), ("a.nii", b"\0" * 400), ("a.nii.gz", b"\x1f\x8bJosephine"),
        ("a.nrrd", b"NRRD0004\nJosephine"), ("a.mha", b"NDims = 3\nComment = Josephine"),
        ("a.mha", b"NDims = 3\nElementDataFile = josephine.raw\n"),
        ("a.nrrd", b"NRRD0004\ndata file: josephine.raw\n\n"), ("a.json", b"[1, 2"),
        ("a.json", b"[]"), ("a.json", b'{"format": "meddetect.case/1"}'), ("a.dcm", b""),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_claims_never_leaves(name, data, scans, tmp_path):
    (scans / name).write_bytes(data)
    proof = deidentify_folder(scans, tmp_path / "out", tmp_path / "key")
    assert proof.files == 4
    assert sum(proof.set_aside.values()) == 1


def test_nrrd_keys_and_comments_go_and_segments_stay(tmp_path):
    (tmp_path / "in").mkdir()
    header = (
        "NRRD0004\n# by Josephine\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n"
        "content: Josephine\nspace: left-posterior-superior\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nkinds: domain domain"
        " domain\nDICOM.PatientName:=Josephine\nSegment0_ID:=F1\nSegment0_Name:=nodule\n\n"
    )
    (tmp_path / "in" / "j.nrrd").write_bytes(header.encode() + bytes(range(24)))
    deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    data = (tmp_path / "out" / "file-000001.nrrd").read_bytes()
    assert b"osephine" not in data
    assert b"Segment0_Name:=nodule" in data
    volume = read_volume(tmp_path / "out" / "file-000001.nrrd")
    np.testing.assert_array_equal(volume.array.ravel(), np.arange(24))


def test_metaimage_keys_go(tmp_path):
    import SimpleITK as sitk

    (tmp_path / "in").mkdir()
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image.SetMetaData("PatientName", "Josephine")
    sitk.WriteImage(image, str(tmp_path / "in" / "j.mha"))
    assert b"Josephine" in (tmp_path / "in" / "j.mha").read_bytes()
    deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert b"josephine" not in everything(tmp_path / "out")
    again = sitk.ReadImage(str(tmp_path / "out" / "file-000001.mha"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize(
    "written", ["J\u00fcrgen", "J\u00dcRGEN", "Ju\u0308rgen", "JU\u0308RGEN", "j\u00fcrgen"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1"])
def test_a_name_with_other_than_ascii_letters_is_found_however_it_is_written(written, encoding):
    identity = Identity()
    identity.add_name("Strau\u00df^J\u00fcrgen")
    assert "j\u00fcrgen" in identity.tokens_in(f"scan of {written}, 2026")
    if encoding == "latin-1" and "\u0308" in written:
        return  # has no such letter
    assert "j\u00fcrgen" in identity.found_in(f"scan of {written}, 2026".encode(encoding))
    for name in ("Strau\u00df", "STRAUSS", "strauss"):
        assert identity.found_in(f"scan of {name}, 2026".encode(encoding))


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_stands_behind_the_voxels_does_not_leave(ending, packed, tmp_path):
    import SimpleITK as sitk

    (tmp_path / "in").mkdir()
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path / "in" / f"j.{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), packed)
    clean = deidentify_folder(tmp_path / "in", tmp_path / "before", tmp_path / "key")
    assert "trailing-bytes" not in clean.data["actions"]
    path.write_bytes(path.read_bytes() + b"PATIENT Josephine")
    proof = deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert proof.data["actions"]["trailing-bytes"] == 1
    assert b"josephine" not in everything(tmp_path / "out")
    again = sitk.ReadImage(str(tmp_path / "out" / f"file-000001.{ending}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), array)


@pytest.mark.parametrize(
    ("how", "voxels", "leaves"),
    [
        ("gzip", gzip.compress(bytes(range(10))) + gzip.compress(bytes(range(10, 24))), True),
        ("gz", gzip.compress(bytes(range(24)) + b"Josephine"), True),
        ("bzip2", bz2.compress(bytes(range(24))) + b"Josephine", True),
        ("ascii", b" ".join(b"%d" % n for n in range(24)), True),
        ("ascii", b" ".join(b"%d" % n for n in range(24)) + b" Josephine", False),
        ("raw", bytes(range(23)), False),
        ("gzip", gzip.compress(bytes(range(23))), False),
        ("raw\nbyte skip: 9", b"Josephine" + bytes(range(24)), False),
    ],
    ids=["two gzip members", "gz", "bzip2", "ascii", "more", "short", "short gzip", "skip"],
)
def test_voxels_of_any_encoding_leave_alone_or_not_at_all(how, voxels, leaves, scans, tmp_path):
    header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: {how}\n\n"
    (scans / "j.nrrd").write_bytes(header.encode() + voxels)
    proof = deidentify_folder(scans, tmp_path / "out", tmp_path / "key")
    assert sum(proof.set_aside.values()) == (not leaves)
    assert b"josephine" not in everything(tmp_path / "out")


def test_a_picture_leaves_only_when_accepted_and_without_its_texts(tmp_path):
    def chunk(name, data):
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    (tmp_path / "in").mkdir()
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    png += chunk(b"tEXt", b"Author\0Josephine") + chunk(b"tIME", b"\x07\xe1\1\1\1\1\1")
    png += chunk(b"IDAT", zlib.compress(b"\0\7")) + chunk(b"IEND", b"") + b"Josephine behind"
    (tmp_path / "in" / "josephine.png").write_bytes(png)
    with pytest.raises(InputError, match="1 picture"):
        deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    options = Options(accept=frozenset({"picture"}))
    deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key", options)
    assert b"josephine" not in everything(tmp_path / "out")
    from PIL import Image

    assert Image.open(tmp_path / "out" / "file-000001.png").getpixel((0, 0)) == 7


# --- the proof --------------------------------------------------------------------------


def test_the_proof_states_the_profile_every_file_and_the_checks_and_no_name(cleaned):
    import hashlib

    out, proof, _ = cleaned()
    said = json.loads((out / "proof.json").read_text())
    assert said == proof.data
    assert said["profile"]["table_sha256"] == TABLE_SHA256
    assert said["profile"]["rows"] == 656
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert set(said["files"]) == there - {"proof.json"}
    for name, facts in said["files"].items():
        assert facts["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
        assert facts["before"]["private"] == 2
        assert facts["after"] == {"not_as_the_table_says": 0, "identifying_values": 0}
    assert said["checks"]["files_read_again"] == 4
    assert said["checks"]["values_looked_for"] > 20


def test_a_file_that_is_not_as_the_table_says_is_taken_back(scans, tmp_path, monkeypatch):
    """The check does not trust the cleaner: here one forgets a sequence's items."""
    from MedDetectLib.cases.deidentify.dataset import Cleaner

    monkeypatch.setattr(Cleaner, "_items", lambda self, element: None)
    monkeypatch.setattr(Cleaner, "_scrub", lambda self, data: None)
    with pytest.raises(InputError, match="4 identity-remains"):
        deidentify_folder(scans, tmp_path / "out", tmp_path / "key")


def test_names_get_into_no_log_and_no_warning(scans, tmp_path, caplog, recwarn, capfd):
    bad = identified_series()[0]
    bad.PatientAge = "Josephine is too long for an age"
    (scans / "odd.dcm").write_bytes(raw_of(bad))
    recwarn.clear()
    caplog.clear()
    deidentify_folder(scans, tmp_path / "out", tmp_path / "key")
    out, err = capfd.readouterr()
    said = "".join([out, err, caplog.text, *(str(w.message) for w in recwarn)])
    assert "osephine" not in said


def test_the_originals_are_not_touched(scans, tmp_path):
    before = {path: path.read_bytes() for path in scans.rglob("*") if path.is_file()}
    deidentify_folder(scans, tmp_path / "out", tmp_path / "key")
    assert {path: path.read_bytes() for path in scans.rglob("*") if path.is_file()} == before


def test_a_result_among_the_originals_or_in_a_full_folder_is_refused(scans, tmp_path):
    with pytest.raises(InputError) as caught:
        deidentify_folder(scans, scans / "out", tmp_path / "key")
    assert (caught.value.code, caught.value.exit_code) == ("out-inside", 77)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(StoreError) as full:
        deidentify_folder(scans, tmp_path / "full", tmp_path / "key")
    assert full.value.exit_code == 73


def test_a_killed_run_leaves_no_folder(scans, tmp_path):
    script = (
        "import os, signal, sys\n"
        "from MedDetectLib.cases.deidentify import folder\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder.write_proof = die\n"
        "folder.deidentify_folder(*sys.argv[1:])\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, scans, tmp_path / "out", tmp_path / "key"],
        env={**os.environ, "PYTHONPATH": root}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "out").exists()
    assert deidentify_folder(scans, tmp_path / "out", tmp_path / "key").files == 4


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
def test_dciodvfy_finds_no_error_that_the_original_had_not(scans, cleaned):
    def errors(path):
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        return {line for line in done.stderr.splitlines() if line.startswith("Error")}

    before = set().union(*(errors(path) for path in scans.rglob("*.dcm")))
    for shift in (False, True):
        out, _, _ = cleaned(shift_dates=shift)
        after = set().union(*(errors(path) for path in out.rglob("*.dcm")))
        assert after - before == set()
        shutil.rmtree(out)


# --- the command ------------------------------------------------------------------------


def test_the_command_cleans_a_folder_and_says_what_was_set_aside(scans, tmp_path, capsys):
    (scans / "notes.txt").write_text("Josephine")
    ask = ["deidentify", str(scans), "--out", str(tmp_path / "out"), "--uid-map"]
    assert main([*ask, str(tmp_path / "key"), "--dates", "shift"]) == 0
    said = capsys.readouterr().out
    assert "4 files in" in said
    assert "set aside, unknown-kind: 1" in said
    assert main([*ask, str(tmp_path / "key")]) == 73
    assert main([*ask[:3], str(tmp_path / "o2"), "--uid-map", str(tmp_path / "o2" / "k")]) == 77
    assert main(["deidentify", str(tmp_path / "no"), *ask[2:], str(tmp_path / "key")]) == 65
    capsys.readouterr()
    assert main([*ask[:3], str(tmp_path / "o3"), *ask[4:], str(tmp_path / "key"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["set_aside"] == {"unknown-kind": 1}


def test_compressed_and_bare_files_come_through(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    packed = made_dicom.through_gdcm(identified_series()[0], "JPEGLS", tmp_path / "gdcm")
    (folder / "packed").write_bytes(raw_of(packed))
    bare = raw_of(identified_series()[1])
    syntax = pydicom.dcmread(folder / "packed").file_meta.TransferSyntaxUID
    start = bare.index(b"\x08\0\x05\0CS")
    (folder / "bare").write_bytes(bare[start:])
    proof = deidentify_folder(folder, tmp_path / "out", tmp_path / "key")
    assert proof.files == 2
    kept = {data.file_meta.TransferSyntaxUID for data in datasets(tmp_path / "out")}
    assert kept == {syntax, "1.2.840.10008.1.2.1"}
    assert identifying_in(tmp_path / "out") == []


@pytest.mark.parametrize(("name", "version"), [("j.nii.gz", 1), ("j.nii", 2)])
def test_what_follows_the_voxels_of_a_nifti_file_goes(name, version, tmp_path):
    import gzip

    import nibabel

    (tmp_path / "in").mkdir()
    array = nifti_with_secrets(tmp_path / "in" / name, version)
    file = tmp_path / "in" / name
    more = b"Wilhelmina was here"
    file.write_bytes(
        gzip.compress(gzip.decompress(file.read_bytes()) + more)
        if name.endswith(".gz")
        else file.read_bytes() + more
    )
    proof = deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert b"wilhelmina" not in everything(tmp_path / "out")
    (left,) = proof.data["files"]
    assert proof.data["files"][left]["before"]["trailing-bytes"] == 1
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "out" / left).dataobj), array)
