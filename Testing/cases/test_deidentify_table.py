"""Every row of Table E.1-1, at the top and in items of sequences."""

from __future__ import annotations

import copy

import pytest
from deidentify_samples import SECRETS, filled, innermost, nested, vr_of
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from MedDetectLib.cases.deidentify.dataset import Cleaner
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key
from MedDetectLib.cases.deidentify.profile_table import ROWS, action_of

WHOLE_GROUPS = {0x50000010: "X", 0x501E3000: "X", 0x60003000: "X", 0x60224000: "X",
                0x00091001: "X"}  # fmt: skip
ALL = {**ROWS, **WHOLE_GROUPS}
CODES = {"X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}


def cleaned(data, **options):
    cleaner = Cleaner(Key(), "P-00000001", **options)
    cleaner.clean(data)
    return cleaner


def texts_in(data):
    return str(data).lower()


def test_the_table_has_all_rows_of_its_edition_and_known_codes_only():
    assert len(ROWS) + 4 == 656  # with curves, overlay data, overlay comments, private
    assert set(ROWS.values()) == CODES
    counts = {code: sum(c == code for c in ROWS.values()) for code in sorted(CODES)}
    assert counts["U"] == 55
    assert counts["X/Z/U*"] == 2


@pytest.mark.parametrize("depth", [0, 2], ids=["top", "nested"])
@pytest.mark.parametrize("tag", ALL, ids=lambda tag: f"{tag:08X}-{ALL[tag].replace('/', '')}")
def test_what_the_row_says_is_done(tag, depth):
    code = action_of(tag)
    assert code == ALL[tag]
    data = nested(filled(tag), depth)
    cleaned(data)
    inner = innermost(data)
    check_row(inner, tag, code)
    left = texts_in(data)
    for secret in ("secret", "miller", "josephine", "19560317", "1.2.3.999.47.11", "061y"):
        assert secret not in left


def check_row(data: Dataset, tag: int, code: str):
    """What PS3.15 allows for a code, where the safe choice of a compound one is taken."""
    if code == "X":
        assert tag not in data
        return
    if tag == 0x00081110:  # X/Z, and an empty sequence is no valid optional one
        assert tag not in data
        return
    element = data[tag]
    vr = vr_of(tag)
    if tag in (0x00100010, 0x00100020):
        assert element.value == "P-00000001"
    elif code == "U":
        assert str(element.value).startswith("2.25.")
    elif code in ("Z", "X/Z"):
        assert not element.value
    elif code == "X/Z/U*":
        (item,) = element.value
        assert item.ReferencedSOPInstanceUID.startswith("2.25.")
        assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    elif vr == "SQ":
        assert "D" in code
        (item,) = element.value
        assert item.ReferencedSOPInstanceUID.startswith("2.25.")
    else:
        assert "D" in code
        assert element.value not in (None, "", b"", SECRETS[vr])


@pytest.mark.parametrize("tag", [tag for tag in ROWS if ROWS[tag] != "X"])
def test_what_was_empty_stays_empty_as_its_type_may_ask(tag):
    data = Dataset()
    data.add_new(tag, vr_of(tag), [] if vr_of(tag) == "SQ" else None)
    cleaned(data)
    assert tag in data
    if tag not in (0x00100010, 0x00100020):
        assert not data[tag].value


def test_attributes_the_table_does_not_name_are_kept():
    data = Dataset()
    data.Rows, data.Modality, data.BodyPartExamined = 512, "CT", "CHEST"
    data.PixelSpacing, data.ImagePositionPatient = [0.5, 0.5], [1, 2, 3]
    data.SOPClassUID, data.InstanceNumber = "1.2.840.10008.5.1.4.1.1.2", 7
    before = copy.deepcopy(data)
    cleaned(data)
    assert data == before


def test_private_unknown_and_command_elements_go_wherever_they_are():
    data = Dataset()
    data.add_new(0x00191001, "LO", "x")
    data.add_new(0x0018FFF1, "LO", "no such attribute")
    data.add_new(0x00180000, "UL", 12)
    item = Dataset()
    item.add_new(0x20011002, "SQ", [Dataset()])
    item.Rows = 3
    data.AnatomicRegionSequence = Sequence([item])
    counts = cleaned(data).counts
    assert [int(element.tag) for element in data] == [0x00082218]
    assert [element.keyword for element in data.AnatomicRegionSequence[0]] == ["Rows"]
    assert (counts["private"], counts["unknown"]) == (2, 1)


def test_an_overlay_goes_as_a_whole_so_that_no_half_of_it_is_left():
    data = Dataset()
    for element, vr, value in (
        (0x0010, "US", 4), (0x0011, "US", 4), (0x0040, "CS", "G"), (0x0100, "US", 1),
        (0x3000, "OW", b"Secret Miller!"),
    ):  # fmt: skip
        data.add_new((0x6000 << 16) + element, vr, value)
    cleaned(data)
    assert len(data) == 0


def test_dates_and_names_newer_than_the_table_go_too():
    data = Dataset()
    data.add_new(0x00180060, "DS", "120")
    data.add_new(0x00741048, "DT", "20170605")  # Scheduled..., whatever the table becomes
    tag = next(
        t for t in (0x00400A13, 0x0008010F, 0x00189524, 0x30060008, 0x00020102) if t not in ROWS
    )
    data.add_new(tag, "DA", "20170605")
    data.add_new(0x0040A992 if 0x0040A992 not in ROWS else tag, "PN", "Miller^J")
    cleaned(data)
    assert "20170605" not in texts_in(data)
    assert "miller" not in texts_in(data)


def test_values_that_went_are_also_taken_out_of_what_is_kept():
    data = Dataset()
    data.PatientName, data.PatientID = "Miller^Josephine", "KH-4711"
    data.Manufacturer = "ACME (for Josephine Miller)"
    data.SoftwareVersions = "Millerite 2.0"
    data.BodyPartExamined = "MILLER"
    cleaner = cleaned(data)
    assert data.Manufacturer == "removed"
    assert data.SoftwareVersions == "Millerite 2.0"
    assert cleaner.counts["scrubbed"] == 1
    assert cleaner.coincidences == {"BodyPartExamined"}


# --- dates ------------------------------------------------------------------------------


def test_shifted_dates_keep_their_distance_and_their_time_of_day():
    data = Dataset()
    data.StudyDate, data.SeriesDate, data.StudyTime = "20170305", "2017.03.01", "093011"
    data.AcquisitionDateTime = ["20170306101112.5+0100"]
    data.PatientBirthDate, data.ContentDate = "19560317", "not a date"
    cleaned(data, shift_days=-400)
    assert (data.StudyDate, data.SeriesDate) == ("20160130", "20160126")
    assert (data.StudyTime, data.AcquisitionDateTime) == ("093011", "20160131101112.5+0100")
    assert not data.PatientBirthDate
    assert not data.ContentDate


@pytest.mark.parametrize("tag", [t for t in ROWS if vr_of(t) in ("DA", "DT")])
def test_no_date_of_the_table_keeps_its_day_when_dates_are_shifted(tag):
    data = nested(filled(tag))
    cleaned(data, shift_days=-1000)
    assert "19560317" not in texts_in(data)


# --- UIDs -------------------------------------------------------------------------------


def test_the_same_uid_becomes_the_same_one_everywhere_and_dicoms_own_stay():
    key = Key()
    made = []
    for keyword in ("SOPInstanceUID", "StudyInstanceUID"):
        data = Dataset()
        setattr(data, keyword, "1.2.3.4")
        data.FrameOfReferenceUID = "1.2.840.10008.1.4.1.1"
        Cleaner(key, "P").clean(data)
        made.append(data[keyword].value)
        assert data.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert made[0] == made[1] == key.uids["1.2.3.4"]
    assert key.uid(made[0]) == made[0]
    several = Dataset()
    several.add_new(0x00081155, "UI", ["1.2.3.4", "1.2.3.5"])
    Cleaner(key, "P").clean(several)
    assert several[0x00081155].value[0] == made[0]
    assert len(set(several[0x00081155].value)) == 2


def test_numbers_and_standard_terms_that_equal_a_removed_value_are_kept_and_named():
    data = Dataset()
    data.PatientName, data.StudyID, data.PatientID = "Brain^Head", "123456", "KH-4711"
    data.SeriesNumber, data.BodyPartExamined = 123456, "HEAD"
    ours, theirs = Dataset(), Dataset()
    for item, scheme in ((ours, "SCT"), (theirs, "99LOCAL")):
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", scheme, "Brain"
    data.AnatomicRegionSequence = Sequence([ours, theirs])
    cleaner = cleaned(data)
    assert (data.SeriesNumber, data.BodyPartExamined) == (123456, "HEAD")
    assert [item.CodeMeaning for item in data.AnatomicRegionSequence] == ["Brain", "removed"]
    assert cleaner.coincidences == {"SeriesNumber", "BodyPartExamined", "CodeMeaning"}


def test_bytes_beside_a_value_that_look_like_letters_do_not_hide_it():
    known = Identity()
    known.add_name("Josephine^Miller")
    known.add_date("20170605")
    known.add_uid("1.2.276.0.99")
    assert known.found_in(b"\x00JOSEPHINEb\0\x08\0") == ["josephine"]
    assert known.found_in(b"millerite, Miller") == ["miller"]
    assert known.found_in(b"12017060545") == []
    assert known.found_in(b"\0" + "Josephine".encode("utf-16-le")) == ["josephine"]
    assert known.found_in(b"1.2.276.0.99.1") == []
    assert known.found_in(b"\x40\x00" + b"1.2.276.0.99\0") == ["1.2.276.0.99"]


def test_a_description_is_looked_for_in_its_own_object_only():
    one, other = Identity(), Identity()
    one.add_description("Thorax as Dr Freud wished")
    one.add_description("ABDOMEN")
    assert one.tokens_in("thorax as dr freud wished!") != []
    assert one.tokens_in("abdomen") == []
    other.update(one)
    assert other.tokens_in("thorax as dr freud wished!") == []


@pytest.mark.parametrize("text", ["see 1.2.276.0.99.7.1.2", "1.2.276.0.99.7.1.2.1_derived"])
def test_uids_in_texts_that_are_kept_are_taken_out(text):
    data = Dataset()
    data.SOPInstanceUID = "1.2.276.0.99.7.1.2"
    data.Manufacturer, data.SoftwareVersions = text, "1.2.276.0.99"
    cleaner = cleaned(data)
    assert data.Manufacturer == "removed"
    assert data.SoftwareVersions == "1.2.276.0.99"  # begins like it, and is another
    assert cleaner.counts["scrubbed"] == 1


def test_no_two_patients_or_readers_share_a_pseudonym(monkeypatch):
    drawn = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"] * 2)
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))
    key = Key()
    assert [key.patient(name) for name in "XYX"] == ["P-aaaaaaaa", "P-bbbbbbbb", "P-aaaaaaaa"]
    assert [key.reader(name) for name in "XYX"] == [
        "reader-aaaaaaaa", "reader-bbbbbbbb", "reader-aaaaaaaa",
    ]  # fmt: skip


def test_an_instance_numbered_under_dicoms_own_root_gets_a_new_uid_too():
    key = Key()
    data = Dataset()
    data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.19560317.1"
    Cleaner(key, "P").clean(data)
    assert data.SOPInstanceUID == key.uids["1.2.840.10008.5.1.4.1.1.2.19560317.1"]
    assert not key.is_ours("1.2.840.10008.5.1.4.1.1.2.19560317.1")
