"""The stand-in is as strict as PythonQt: what Slicer does not have, it does not have either."""

import pytest


@pytest.fixture
def qt(slicer_harness):
    import qt

    return qt


def test_properties_are_attributes_and_setters_are_methods_too(qt):
    button = qt.QPushButton("one")
    assert button.text == "one"
    button.text = "two"
    assert button.text == "two"
    button.setText("three")
    assert button.text == "three"
    table = qt.QTableWidget()
    table.rowCount = 3
    assert table.rowCount == 3


def test_calling_a_property_fails_because_it_is_a_plain_value(qt):
    with pytest.raises(TypeError, match="'str' object is not callable"):
        qt.QPushButton("one").text()


def test_plain_value_classes_keep_their_getters_as_methods(qt):
    item = qt.QTableWidgetItem("cell")
    assert item.text() == "cell"
    assert qt.QPoint(3, 4).x() == 3
    with pytest.raises(AttributeError):
        item.text = "other"


def test_numbers_of_numpys_and_paths_are_refused_as_pythonqt_does(qt):
    import pathlib

    import numpy as np

    bar, label = qt.QProgressBar(), qt.QLabel()
    for value in (np.int64(3), np.float32(3), np.bool_(True)):
        with pytest.raises(TypeError, match="Python"):
            bar.setValue(value)
        with pytest.raises(TypeError, match="Python"):
            bar.value = value
    with pytest.raises(TypeError, match="Python"):
        label.setText(pathlib.Path("here"))
    slider = qt.QDoubleSpinBox()
    slider.setValue(np.float64(3.0))  # a float like any other
    assert slider.value == 3.0


@pytest.mark.parametrize("name", ["txt", "clickedd", "isShown"])
def test_reading_an_unknown_attribute_fails(qt, name):
    with pytest.raises(AttributeError, match=f"qt.QPushButton has no attribute named '{name}'"):
        getattr(qt.QPushButton(), name)


def test_setting_an_unknown_attribute_fails(qt):
    with pytest.raises(AttributeError, match="creation of such attributes"):
        qt.QPushButton().colour = "red"


def test_overwriting_a_method_or_a_signal_fails(qt):
    for name in ("setText", "clicked"):
        with pytest.raises(AttributeError, match="can not be overwritten"):
            setattr(qt.QPushButton(), name, 1)


def test_a_property_that_cannot_be_written_says_so(qt):
    with pytest.raises(AttributeError, match="not writable"):
        qt.QWidget().width = 3


def test_a_property_refuses_a_value_of_another_type(qt):
    with pytest.raises(AttributeError, match="does not accept"):
        qt.QProgressBar().value = "half"


@pytest.mark.parametrize("signal", ["pushed()", "clicked(int)", "clicked", "clicked(bool"])
def test_connecting_a_signal_that_is_not_there_fails(qt, signal):
    with pytest.raises(AttributeError):
        qt.QPushButton().connect(signal, lambda: None)


def test_both_ways_of_connecting_work_and_pass_no_more_than_is_taken(qt):
    button, heard = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked(bool)", lambda on: heard.append(on))
    button.connect("clicked()", lambda: heard.append("plain"))
    button.clicked.connect(lambda: heard.append("short"))
    button.click()
    assert heard == [True, "plain", "short"]


def test_a_connection_can_be_undone(qt):
    button, heard = qt.QPushButton(), []

    def hear():
        heard.append(1)

    button.connect("clicked(bool)", hear)
    assert button.disconnect("clicked(bool)", hear)
    assert not button.disconnect("clicked(bool)", hear)
    button.click()
    assert heard == []


def test_signals_blocked_are_not_heard_of_widgets_of_our_own_either(slicer_harness):
    import ctk

    slider, heard = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", heard.append)
    was = slider.blockSignals(True)
    slider.value = 3
    slider.blockSignals(was)
    slider.value = 4
    assert heard == [4.0]


def test_classes_slicer_does_not_list_are_not_there(slicer_harness):
    import ctk
    import qt
    import slicer

    for module, name in ((qt, "QPushButon"), (ctk, "ctkSlider9"), (slicer, "qMRMLNodeCombo")):
        with pytest.raises(AttributeError):
            getattr(module, name)


def test_what_slicer_has_and_the_stand_in_lacks_is_told_apart(qt):
    from Testing.harness.faults import StandInLacks

    with pytest.raises(StandInLacks, match="QTextCodec"):
        _ = qt.QTextCodec


def test_keyword_arguments_are_refused_as_pythonqt_refuses_them(qt):
    with pytest.raises(TypeError, match="keyword"):
        qt.QPushButton(text="x")


def test_a_function_cannot_be_given_to_a_qt_method(qt):
    with pytest.raises(TypeError, match="cannot pass the function"):
        qt.QMenu().addAction("text", lambda: None)


def test_enums_are_ints_that_combine(qt):
    both = qt.Qt.AlignLeft | qt.Qt.AlignTop
    assert int(both) == 0x21
    label = qt.QLabel()
    label.alignment = both
    assert label.alignment == both
    assert label.alignment & qt.Qt.AlignTop
    item = qt.QTableWidgetItem("x")
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    assert not item.flags() & qt.Qt.ItemIsEditable
    assert qt.Qt.UserRole + 1 == 257


def test_the_same_widget_is_the_same_to_python_and_its_class_is_exact(qt):
    layout = qt.QVBoxLayout()
    button = qt.QPushButton()
    layout.addWidget(button)
    assert layout.itemAt(0).widget() is button
    assert type(layout.itemAt(0).widget()) is qt.QPushButton


def test_lists_come_as_tuples(qt):
    widget = qt.QWidget()
    qt.QLabel(widget)
    assert isinstance(widget.children(), tuple)


def test_a_python_class_overrides_events_and_keeps_attributes_of_its_own(qt):
    from Testing.harness import kit

    class Pad(qt.QWidget):
        def __init__(self):
            qt.QWidget.__init__(self)
            self.keys = []

        def keyPressEvent(self, event):  # noqa: N802
            self.keys.append(event.key())

    pad = Pad()
    pad.show()
    kit.press(pad, "A")
    assert pad.keys == [qt.Qt.Key_A]


def test_a_destroyed_widget_says_so(qt):
    button = qt.QPushButton()
    button.delete()
    with pytest.raises(ValueError, match="destroyed"):
        _ = button.text


def test_an_error_in_a_slot_fails_the_run(monkeypatch):
    from Testing.harness.running import slicer_running

    def run():
        with slicer_running():
            import qt

            button = qt.QPushButton()
            button.connect("clicked(bool)", lambda: 1 / 0)
            button.click()

    with pytest.raises(ExceptionGroup, match="slots") as caught:
        run()
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_an_error_in_an_observer_fails_the_run():
    from Testing.harness.running import slicer_running

    def run():
        with slicer_running() as harness:
            node = harness.scene.AddNewNodeByClass("vtkMRMLTextNode")
            node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
            node.Modified()

    with pytest.raises(ExceptionGroup) as caught:
        run()
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_an_unexpected_dialog_fails_the_run():
    from Testing.harness.dialogs import UnexpectedDialog
    from Testing.harness.running import slicer_running

    def run():
        with slicer_running():
            import slicer

            with pytest.raises(UnexpectedDialog):
                slicer.util.errorDisplay("something is wrong")

    with pytest.raises(ExceptionGroup):
        run()


def test_dialogs_are_answered_in_order_and_remembered(slicer_harness):
    import slicer

    from Testing.harness import dialogs

    with dialogs.answers("OK", "Cancel", "/a/folder", None) as seen:
        import qt

        assert slicer.util.confirmOkCancelDisplay("really?") is True
        assert slicer.util.confirmOkCancelDisplay("surely?") is False
        assert qt.QFileDialog.getExistingDirectory(None, "Where") == "/a/folder"
        assert qt.QFileDialog.getOpenFileName(None, "Which") == ""
    assert [one.text for one in seen[:2]] == ["really?", "surely?"]


def test_a_dialog_that_does_not_come_fails_too(slicer_harness):
    from Testing.harness import dialogs

    with pytest.raises(AssertionError, match="expected 1 more"), dialogs.answers("OK"):
        pass


def test_python_is_left_as_it_was(monkeypatch):
    import sys

    import slicer

    from Testing.harness.running import slicer_running

    with slicer_running():
        assert "qt" in sys.modules
    assert "qt" not in sys.modules
    for name in ("app", "mrmlScene", "modules", "parameterNodeWrapper"):
        assert not hasattr(slicer, name)


@pytest.mark.realdata
def test_the_listing_here_is_the_one_in_shared(data_folder):
    import json

    from Testing.harness import api

    listed = data_folder.parent / "slicer-api.json"
    if not listed.is_file():
        pytest.skip(f"no listing: {listed} is absent")
    assert api.listing() == json.loads(listed.read_text("utf-8"))
