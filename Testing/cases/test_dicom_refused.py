"""Every bad DICOM folder is refused with its code, exit 65, one line, and nothing written."""

import pytest
from bad_files import BAD
from bad_series import BAD_SERIES
from made_dicom import series, write

from MedDetectLib.cases.image_files import ACCEPTABLE, read_volume
from MedDetectLib.core.errors import InputError

ACCEPTED = sorted(name for name, case in BAD_SERIES.items() if case.accept)


def _listing(folder):
    return sorted((str(p), p.stat().st_size) for p in folder.rglob("*"))


@pytest.mark.parametrize("name", sorted(BAD_SERIES))
def test_a_bad_series_is_refused_with_one_line_that_names_it_and_says_what_to_do(name, tmp_path):
    case = BAD_SERIES[name]
    folder = case.build(tmp_path)
    before = _listing(tmp_path)
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    error, line = caught.value, str(caught.value)
    assert (error.code, error.exit_code) == (case.code, 65)
    assert "\n" not in line
    assert str(folder) in line
    assert case.words in line
    assert error.todo
    assert _listing(tmp_path) == before


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_acceptable_flaw_of_a_series_is_read_when_named_and_then_noted(name, tmp_path):
    case = BAD_SERIES[name]
    volume = read_volume(case.build(tmp_path), accept=case.accept)
    assert [note.code for note in volume.notes if note.code in ACCEPTABLE] == list(case.accept)


@pytest.mark.parametrize("name", sorted(set(BAD_SERIES) - set(ACCEPTED)))
def test_what_cannot_be_accepted_is_refused_even_when_everything_is(name, tmp_path):
    case = BAD_SERIES[name]
    with pytest.raises(InputError) as caught:
        read_volume(case.build(tmp_path), accept=ACCEPTABLE)
    assert caught.value.code == case.code


def test_every_acceptable_code_is_met_somewhere_in_the_corpus():
    cases = [*BAD.values(), *BAD_SERIES.values()]
    assert {code for case in cases for code in case.accept} == ACCEPTABLE.keys()


def test_a_missing_decoder_is_named_with_the_package_that_has_it(tmp_path, monkeypatch):
    import SimpleITK
    from made_dicom import through_gdcm
    from pydicom.pixels.decoders.base import Decoder

    folder = write(tmp_path / "ct", [through_gdcm(d, "JPEG", tmp_path / "m") for d in series()])

    def no_codec(path):
        raise RuntimeError("no codec")

    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    monkeypatch.setattr(SimpleITK, "ReadImage", no_codec)
    with pytest.raises(InputError, match="install pylibjpeg-libjpeg") as caught:
        read_volume(folder)
    assert caught.value.code == "missing-decoder"


def test_flaws_are_judged_before_any_pixel_is_decoded(tmp_path, monkeypatch):
    from MedDetectLib.cases import dicom_volume

    images = series(9)
    del images[4]
    folder = write(tmp_path / "ct", images)
    monkeypatch.setattr(dicom_volume, "stored_pixels", None)
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert caught.value.code == "slice-gap"
