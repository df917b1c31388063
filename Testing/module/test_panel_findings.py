"""Findings: the table, the filter, and the keyboard."""

import time

import numpy as np
import pytest
import slicer

from Testing.harness import kit
from Testing.module.panel_world import add_volume, settle, stand_in, table, volume_of_balls


def state(world, finding_id):
    return next(item.state for item in world.review.items if item.id == finding_id)


def test_the_table_shows_every_finding_with_a_word_for_its_state(reviewed):
    rows = table(reviewed)
    assert [row[0] for row in rows] == ["○ open"] * 3
    assert [row[1] for row in rows] == ["ball", "blob", "ball"]
    assert [row[2] for row in rows] == ["1.00", "0.70", "0.40"]
    assert reviewed.ui.findingsCount.text == "3 of 3 shown, 0 judged, 3 open"


def test_a_click_takes_a_finding_in_hand_and_all_slices_jump_there(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 1, 2)
    assert reviewed.review.current == "F2"
    assert reviewed.panel.parameters.currentFinding == "F2"
    centre = np.array(reviewed.review.item.centre_ras_mm)
    for n in range(3):
        to_ras = slicer.mrmlScene.GetNthNodeByClass(n, "vtkMRMLSliceNode").GetSliceToRAS()
        normal = np.array([to_ras.GetElement(row, 2) for row in range(3)])
        origin = np.array([to_ras.GetElement(row, 3) for row in range(3)])
        assert abs(normal @ (centre - origin)) < 1e-3


def test_keys_judge_the_finding_in_hand(reviewed):
    shown = reviewed.ui.findingsTable
    kit.click_cell(shown, 0, 0)
    kit.press(shown, "A")
    assert state(reviewed, "F1") == "accepted"
    kit.press(shown, "N")
    assert reviewed.review.current == "F2"
    kit.choose(reviewed.ui.reasonSelector, "vessel")
    kit.press(shown, "R")
    assert state(reviewed, "F2") == "rejected"
    assert reviewed.review.desk.session.history[-1].act["reason"] == "vessel"
    kit.press(shown, "N")
    assert reviewed.review.current == "F3"
    assert [row[0] for row in table(reviewed)] == ["✓ accepted", "✕ rejected", "○ open"]
    assert reviewed.ui.findingsCount.text == "3 of 3 shown, 2 judged, 1 open"


def test_a_digit_sets_the_class(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    kit.press(reviewed.ui.findingsTable, "2")
    assert reviewed.review.item.label_name == "blob"
    assert reviewed.ui.labelSelector.currentText == "2  blob"
    kit.press(reviewed.ui.findingsTable, "9")
    assert reviewed.review.item.label_name == "blob"
    kit.choose(reviewed.ui.labelSelector, "1  ball")
    assert table(reviewed)[0][1] == "ball"


def test_buttons_do_what_keys_do(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    kit.click(reviewed.ui.acceptButton)
    kit.click(reviewed.ui.nextButton)
    kit.click(reviewed.ui.rejectButton)
    assert (state(reviewed, "F1"), state(reviewed, "F2")) == ("accepted", "rejected")
    kit.click(reviewed.ui.addBoxButton)
    assert len(reviewed.review.items) == 4


def test_b_adds_a_box_where_the_slices_meet_and_takes_it_in_hand(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 1, 0)
    place = np.array(reviewed.review.item.centre_ras_mm)
    kit.press(reviewed.ui.findingsTable, "B")
    added = reviewed.review.item
    assert added.state == "added"
    assert not added.has_mask
    assert np.linalg.norm(np.array(added.centre_ras_mm) - place) < 2.0
    assert reviewed.review.desk.roi_node.GetDisplayNode().GetVisibility()
    assert "＋ added" in [row[0] for row in table(reviewed)]


def test_undo_and_redo_keys_take_back_any_act(reviewed):
    shown = reviewed.ui.findingsTable
    kit.click_cell(shown, 0, 0)
    kit.press(shown, "A")
    kit.press(shown, "B")
    kit.press(shown, "Ctrl+Z")
    assert len(reviewed.review.items) == 3
    kit.press(shown, "Ctrl+Z")
    assert state(reviewed, "F1") == "new"
    kit.press(shown, "Ctrl+Z")
    assert state(reviewed, "F1") == "new"
    kit.press(shown, "Ctrl+Shift+Z")
    assert state(reviewed, "F1") == "accepted"


@pytest.mark.parametrize("field", ["reviewerEdit", "commentEdit", "patientEdit", "remarkEdit"])
def test_letters_and_digits_typed_into_a_text_field_stay_there(reviewed, field):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    edit = getattr(reviewed.ui, field)
    for key in ("A", "R", "B", "N", "E", "2"):
        kit.press(edit, key)
    assert edit.text.casefold() == "arbne2"
    assert [item.state for item in reviewed.review.items] == ["new"] * 3
    assert reviewed.review.current == "F1"
    kit.press(edit, "Ctrl+Z")
    assert reviewed.review.desk.session.undoable is None


def test_keys_work_in_the_slice_views(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    view = slicer.app.layoutManager().sliceWidget("Red")
    view.show()
    kit.process(20)
    kit.press(view, "A")
    assert state(reviewed, "F1") == "accepted"


def test_keys_sleep_while_another_module_is_shown(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    reviewed.widget.exit()
    assert reviewed.panel.keys.installed == 0
    kit.press(reviewed.ui.findingsTable, "A")
    assert state(reviewed, "F1") == "new"
    reviewed.widget.enter()
    kit.press(reviewed.ui.findingsTable, "A")
    assert state(reviewed, "F1") == "accepted"


def test_a_heading_sorts_and_sorts_the_other_way_round(reviewed):
    findings = reviewed.panel.findings
    findings.sortBy(2)
    assert [row[2] for row in table(reviewed)] == ["0.40", "0.70", "1.00"]
    findings.sortBy(4)
    volumes = [float(row[4]) for row in table(reviewed)]
    assert volumes == sorted(volumes, reverse=True)
    findings.sortBy(1)
    assert [row[1] for row in table(reviewed)] == ["ball", "ball", "blob"]


def test_sorting_keeps_the_finding_in_hand(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    reviewed.panel.findings.sortBy(2)
    assert reviewed.review.current == "F1"
    assert reviewed.ui.findingsTable.currentRow() == 2


def test_the_score_filter_hides_rows_and_segments_and_deletes_nothing(reviewed):
    reviewed.ui.scoreSlider.value = 0.6
    assert [row[2] for row in table(reviewed)] == ["1.00", "0.70"]
    assert reviewed.ui.findingsCount.text.startswith("2 of 3 shown")
    display = reviewed.review.desk.segmentation_node.GetDisplayNode()
    assert [display.GetSegmentVisibility(f"F{n}") for n in (1, 2, 3)] == [True, True, False]
    assert len(reviewed.review.items) == 3
    assert reviewed.panel.parameters.scoreThreshold == pytest.approx(0.6)
    reviewed.ui.scoreSlider.value = 0.0
    assert len(table(reviewed)) == 3
    assert display.GetSegmentVisibility("F3")


def test_next_passes_over_what_the_filter_hides(reviewed):
    reviewed.ui.scoreSlider.value = 0.6
    kit.click_cell(reviewed.ui.findingsTable, 1, 0)
    kit.press(reviewed.ui.findingsTable, "N")
    assert reviewed.review.current == "F1"


def test_next_says_when_all_are_judged(reviewed):
    for row in range(3):
        kit.click_cell(reviewed.ui.findingsTable, row, 0)
        kit.press(reviewed.ui.findingsTable, "A")
    kit.press(reviewed.ui.findingsTable, "N")
    assert reviewed.ui.saveState.text == "✓ Every finding in the list has been judged."


def test_nothing_can_be_judged_without_a_finding(world):
    for name in ("acceptButton", "rejectButton", "addBoxButton", "nextButton", "editButton"):
        assert not getattr(world.ui, name).enabled
    kit.press(world.ui.findingsTable, "A")
    kit.press(world.ui.findingsTable, "B")
    assert not world.review.isOpen


def test_a_thousand_findings_stay_fluid(world):
    from MedDetectLib.core.findings import Finding, Findings, Provenance
    from MedDetectLib.core.labels import Label

    def many(volume):
        label_map = np.zeros(volume.geometry.shape_kji, np.uint16)
        items = []
        for n in range(1000):
            k, j, i = 4 * (n // 100), 4 * (n // 10 % 10), 4 * (n % 10)
            label_map[k : k + 2, j : j + 2, i : i + 2] = n + 1
            box = tuple(float(e) for e in (k, j, i, k + 2, j + 2, i + 2))
            items.append(Finding(f"F{n + 1}", 1, 1 - n / 2000, box, n + 1, 3.5, 0.016))
        source = Provenance("m", "1", "0" * 64, "none", "f32", "cpu", "v", "0" * 64, "0")
        labels = (Label(1, "ball", (40, 200, 90)),)
        return Findings(volume.geometry, labels, tuple(items), label_map, source)

    add_volume(volume_of_balls())
    world.logic.client = stand_in(find=many)
    kit.click(world.ui.runButton)
    settle(world, 60)
    assert world.ui.findingsTable.rowCount == 1000
    kit.click_cell(world.ui.findingsTable, 0, 0)
    times = []
    for row in range(5, 26):
        start = time.perf_counter()
        kit.click_cell(world.ui.findingsTable, row, 1)
        times.append(time.perf_counter() - start)
    assert world.review.current == "F26"
    print(f"select: median {1000 * np.median(times):.1f} ms, longest {1000 * max(times):.1f} ms")
    assert np.median(times) < 0.05


def test_another_layout_has_the_keys_too_as_long_as_the_panel_is_shown(reviewed):
    manager = slicer.app.layoutManager()
    shortcuts = list(reviewed.panel.keys._shortcuts)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert reviewed.panel.keys.installed == len(shortcuts)
    assert reviewed.panel.keys._shortcuts[0] is not shortcuts[0]
    reviewed.widget.exit()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert reviewed.panel.keys.installed == 0


def test_keys_of_a_view_that_was_deleted_are_forgotten_without_a_word(world):
    import qt
    from MedDetectUI.keys import Keys

    view, keys = qt.QWidget(), Keys({"A": lambda: None})
    keys.install(view)
    view.delete()
    keys.remove()
    assert keys.installed == 0


def test_rows_the_filter_hides_are_not_among_the_selected(reviewed):
    reviewed.ui.findingsTable.selectAll()
    reviewed.ui.scoreSlider.value = 0.5
    assert reviewed.panel.findings.selectedIds() == ["F1", "F2"]


def test_words_of_states_can_be_read_on_a_dark_window_too(reviewed):
    import qt
    from MedDetectUI import looks

    def contrast(colour, ground):
        def luminance(name):
            made = qt.QColor(name)
            parts = [c / 255 for c in (made.red(), made.green(), made.blue())]
            r, g, b = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
            return 0.2126 * r + 0.7152 * g + 0.0722 * b

        one, two = sorted((luminance(colour), luminance(ground)))
        return (two + 0.05) / (one + 0.05)

    label = qt.QLabel()
    for ground in ("#ffffff", "#2d2d2d"):
        palette = qt.QPalette()
        palette.setColor(qt.QPalette.Base, qt.QColor(ground))
        label.setPalette(palette)
        for _sign, _word, colour in looks.STATES.values():
            assert contrast(looks.readable(colour, label), ground) >= 4.5


def test_the_columns_have_room_for_every_state_and_for_the_place(reviewed):
    from MedDetectUI.looks import STATES

    shown = kit._native(reviewed.ui.findingsTable)
    metrics = shown.fontMetrics()
    for sign, word, _colour in STATES.values():
        assert shown.columnWidth(0) > metrics.horizontalAdvance(f"{sign} {word}")
    for column in range(6):
        widest = max(metrics.horizontalAdvance(row[column]) for row in table(reviewed))
        assert shown.columnWidth(column) >= widest
