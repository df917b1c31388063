"""DICOM export: there where the image came from DICOM, and nowhere else."""

import pydicom

from Testing.cases.made_dicom import series, write
from Testing.harness import kit
from Testing.module.panel_world import settle


def test_an_image_that_is_no_dicom_has_no_export(reviewed):
    assert not reviewed.ui.exportButton.visible


def found_in_a_series(world, home, monkeypatch):
    """Open a DICOM series from a worklist, and find two things in it; nobody is asked where to."""
    from MedDetectUI.stand_in import StandInClient, brightFindings

    write(home / "study", series())
    world.ui.worklistPath.currentPath = str(home / "study")
    settle(world)
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert world.ui.runButton.enabled, world.ui.intakeBadge.text
    world.logic.client = StandInClient(lambda volume: brightFindings(volume, limit=2))
    kit.click(world.ui.runButton)
    settle(world)
    monkeypatch.setattr("MedDetectUI.export_part.mayAsk", lambda: False)


def exported(world):
    """Press the button; return the report's file."""
    assert world.ui.exportButton.visible
    kit.click(world.ui.exportButton)
    kit.until(lambda: not world.panel.export.busy, 60)
    assert "sr.dcm" in world.ui.saveState.text, world.ui.saveState.toolTip
    return world.review.folder / "dicom" / "sr.dcm"


def test_findings_of_a_dicom_series_are_written_as_seg_and_sr(world, home, monkeypatch):
    found_in_a_series(world, home, monkeypatch)
    world.ui.reviewerEdit.text = "Dr A"
    assert exported(world).is_file()
    assert exported(world).with_name("seg.dcm").is_file()


def test_who_signed_stands_for_the_report_whatever_name_the_panel_shows(world, home, monkeypatch):
    found_in_a_series(world, home, monkeypatch)
    world.ui.reviewerEdit.text = "Adams^Ann"
    world.ui.patientEdit.text = "P1"
    kit.click(world.ui.signButton)
    settle(world)
    assert world.review.caseDesk.version is not None, world.ui.saveState.text
    world.ui.reviewerEdit.text = "Brown^Bob"
    report = pydicom.dcmread(exported(world))
    assert report.CompletionFlag == "COMPLETE"
    assert "Adams^Ann" in str(report)
    assert "Brown" not in str(report)
