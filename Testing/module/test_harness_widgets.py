"""The stand-ins for CTK's and Slicer's widgets behave like them, and invent nothing."""

import inspect

import pytest

# What the harness itself calls on a stand-in; panels reach widgets through the listing only.
OURS = {"fire", "refresh", "load", "make", "add", "begin", "follow", "sizeHint", "hitButton",
        "minimumSizeHint", "childEvent", "paintEvent", "event", "of", "python"}  # fmt: skip


def stand_ins():
    from Testing.harness import running  # noqa: F401
    from Testing.harness.modules import STAND_INS

    return sorted(STAND_INS.items())


def own_members(cls):
    """Give name and value of what our classes add to Qt's."""
    for one in cls.__mro__:
        if one.__module__.startswith("Testing.harness"):
            yield from vars(one).items()


@pytest.mark.parametrize(("name", "cls"), stand_ins(), ids=lambda v: v if type(v) is str else "")
def test_a_stand_in_has_no_name_that_the_original_lacks(name, cls):
    from PySide6.QtCore import Property, QObject

    from Testing.harness import api
    from Testing.harness.links import normal_signature

    known = api.members(name)
    invented = []
    for member, value in own_members(cls):
        if member.startswith("_") or member in OURS or member.isupper():
            continue
        if isinstance(value, Property) and member not in known.properties | known.values:
            invented.append(f"property {member}")
        elif inspect.isfunction(value) and member not in known and not hasattr(QObject, member):
            invented.append(f"method {member}")
    for signature in cls.OWN_SIGNALS if hasattr(cls, "OWN_SIGNALS") else ():
        bare, _, arguments = normal_signature(signature).partition("(")
        if bare not in known.signals:
            invented.append(f"signal {signature}")
        elif bare in known.signatures and arguments[:-1] not in known.signatures[bare]:
            invented.append(f"signature {signature}, listed {known.signatures[bare]}")
    assert invented == []


@pytest.fixture
def ctk(slicer_harness):
    import ctk

    return ctk


def test_a_collapsible_button_hides_what_it_holds(ctk):
    import qt

    from Testing.harness import kit

    button = ctk.ctkCollapsibleButton()
    button.text = "Case"
    layout = qt.QVBoxLayout(button)
    field = qt.QLineEdit()
    layout.addWidget(field)
    button.show()
    heard = []
    button.connect("contentsCollapsed(bool)", heard.append)
    assert field.visible
    kit.click(button)
    assert (button.collapsed, button.checked, field.visible) == (True, False, False)
    button.collapsed = False
    assert field.visible
    assert heard == [True, False]


def test_a_slider_widget_rounds_to_its_decimals_and_keeps_its_bounds(ctk):
    slider, heard = ctk.ctkSliderWidget(), []
    slider.minimum, slider.maximum, slider.decimals = 0.0, 1.0, 2
    slider.connect("valueChanged(double)", heard.append)
    slider.value = 0.333
    slider.value = 7
    slider.value = 7
    assert heard == pytest.approx([0.33, 1.0])


def test_a_slider_widget_that_does_not_track_waits_for_the_hand_to_let_go(ctk):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    from Testing.harness.proxy import native_of

    slider, changing, changed = ctk.ctkSliderWidget(), [], []
    slider.tracking = False
    slider.show()
    slider.connect("valueIsChanging(double)", changing.append)
    slider.connect("valueChanged(double)", changed.append)
    handle = native_of(slider)._handle
    handle.setSliderDown(True)
    handle.setSliderPosition(5000)
    assert changing
    assert changed == []
    handle.setSliderDown(False)
    QTest.mouseMove(handle)
    assert changed == changing[-1:] == [slider.value]
    assert Qt.Orientation.Horizontal == handle.orientation()


def test_a_range_widget_keeps_its_values_in_order(ctk):
    widget, heard = ctk.ctkRangeWidget(), []
    widget.setRange(0, 10)
    widget.setValues(2, 8)
    widget.connect("valuesChanged(double,double)", lambda low, high: heard.append((low, high)))
    widget.maximumValue = 1
    assert (widget.minimumValue, widget.maximumValue) == (2.0, 2.0)
    assert heard == [(2.0, 2.0)]


def test_a_path_is_typed_or_browsed_for(ctk):
    from Testing.harness import dialogs, kit
    from Testing.harness.proxy import native_of

    line, heard = ctk.ctkPathLineEdit(), []
    line.filters = ctk.ctkPathLineEdit.Dirs
    line.connect("currentPathChanged(QString)", heard.append)
    line.currentPath = "/a"
    line.show()
    with dialogs.answers("/b") as seen:
        kit.click(native_of(line)._button)
    assert heard == ["/a", "/b"]
    assert seen[0].kind == "QFileDialog.getExistingDirectory"


def test_a_directory_button_tells_of_a_new_folder_only(ctk, tmp_path):
    from Testing.harness import dialogs

    button, heard = ctk.ctkDirectoryButton(), []
    button.connect("directoryChanged(QString)", heard.append)
    button.directory = str(tmp_path)
    button.directory = str(tmp_path)
    with dialogs.answers(None):
        button.browse()
    assert heard == [str(tmp_path)]


def test_what_would_be_installed_by_the_older_call_is_not_either(slicer_harness):
    import slicer

    from Testing.harness import packages

    packages.asked.clear()
    slicer.util.pip_install("no-such-package-at-all")
    assert packages.asked == [["no-such-package-at-all"]]


def test_what_only_newer_slicer_has_is_told_apart_from_what_none_has(slicer_harness):
    import slicer

    from Testing.harness.faults import StandInLacks

    with pytest.raises(StandInLacks, match="newer"):
        _ = slicer.util.executePythonModule
    with pytest.raises(AttributeError):
        _ = slicer.util.executePythonModul
