"""The panel on a real CT: DICOM in, the real worker, findings judged, signed and stored."""

import numpy as np
import pytest
import slicer

from MedDetectLib.cases.store.case_store import CaseStore
from Testing.harness import kit
from Testing.module.panel_world import settle
from Testing.module.test_panel_worker import Watch


@pytest.mark.realdata
@pytest.mark.slow
def test_an_abdominal_ct_goes_from_its_dicom_folder_into_the_store(
    unpacked, bright_model, tmp_path, monkeypatch, slicer_harness
):
    from types import SimpleNamespace

    folder = unpacked("ct_abdomen_dicom/CRLM-CT-1004") / "CRLM-CT-1004"
    card = {"min_score": 0.0, "min_diameter_mm": 25.0, "basis": "large bones"}
    bright_model(250.0, operating_point=card)
    monkeypatch.setenv("MEDDETECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDDETECT_MODELS", str(tmp_path))
    slicer_harness.load_module()
    widget = slicer_harness.panel()
    panel, ui = widget.panel, widget.ui
    world = SimpleNamespace(panel=panel)
    try:
        ui.worklistPath.currentPath = str(folder)
        settle(world)
        assert ui.caseSelector.count == 1
        kit.click(ui.nextCaseButton)
        with Watch() as reading:
            settle(world, 120)
        panel.model.select("bright")
        assert ui.intakeBadge.text.startswith(("✓ CT", "▲ "))
        assert "512 × 512 × 41" in ui.intakeBadge.text
        kit.until(lambda: ui.memoryLabel.text[:1] in "✓▲", 120, ui.memoryLabel.text)
        with Watch() as run:
            kit.click(ui.runButton)
            kit.until(lambda: not panel.detect.running, 300)
        assert panel.review.beginning or panel.review.isOpen, ui.detectState.toolTip
        with Watch() as opening:
            settle(world, 120)
        print(f"reading: {reading}; run: {run}; opening: {opening}")
        items = panel.review.items
        assert items
        volume = slicer.util.arrayFromVolume(panel.case.volumeNode())
        largest = max(items, key=lambda item: item.volume_ml)
        desk = panel.review.desk
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(
            desk.segmentation_node, largest.id, desk.volume_node
        ).astype(bool)
        assert volume[mask].min() > 250
        panel.review.choose(largest.id)
        kit.press(ui.findingsTable, "A")
        assert panel.review.item.state == "accepted"
        kit.press(ui.findingsTable, "Ctrl+Z")
        assert panel.review.item.state == "new"
        ui.reviewerEdit.text, ui.patientEdit.text = "Dr A", "P1"
        assert ui.exportButton.visible
        kit.click(ui.signButton)
        settle(world, 120)
        store = CaseStore(panel.save.storeFolder())
        (row,) = store.cases()
        assert [version.kind for version in store.versions(row.id)] == ["ai", "review"]
        assert np.array_equal(store.volume(row.id).array, volume)
        for watch in (run, opening):
            watch.must_be_smooth()
    finally:
        widget.logic.close()
