"""Scripted modules load, reload and keep parameters in the stand-in as they do in Slicer."""

import enum
import textwrap
from typing import Annotated

import pytest
import slicer

SOURCE = """
    import qt
    import slicer
    from slicer.i18n import tr as _
    from slicer.ScriptedLoadableModule import *

    calls = []

    class Tiny(ScriptedLoadableModule):
        def __init__(self, parent):
            ScriptedLoadableModule.__init__(self, parent)
            self.parent.title = _("Tiny")

    class TinyWidget(ScriptedLoadableModuleWidget):
        def setup(self):
            ScriptedLoadableModuleWidget.setup(self)
            self.logic = TinyLogic()
            self.ui = None
            self.button = qt.QPushButton("Press")
            self.button.name = "pressButton"
            self.button.connect("clicked(bool)", lambda: calls.append("pressed"))
            self.layout.addWidget(self.button)
            self.field = qt.QLineEdit()
            self.layout.addWidget(self.field)
            shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Z"), self.parent)
            shortcut.connect("activated()", lambda: calls.append("undo"))
            calls.append("setup")

        def enter(self):
            calls.append("enter")

        def exit(self):
            calls.append("exit")

        def cleanup(self):
            calls.append("cleanup")

    class TinyLogic(ScriptedLoadableModuleLogic):
        pass

    class TinyTest(ScriptedLoadableModuleTest):
        def test_something(self):
            calls.append("test")
            self.assertEqual(1, 1)
"""


@pytest.fixture
def tiny(slicer_harness, tmp_path):
    file = tmp_path / "Tiny.py"
    file.write_text(textwrap.dedent(SOURCE))
    slicer_harness.load_module(file)
    return slicer_harness


def calls():
    import sys

    return sys.modules["Tiny"].calls


def test_a_module_is_set_up_only_when_its_panel_is_asked_for(tiny):
    assert calls() == []
    assert slicer.modules.tiny.title == "Tiny"
    assert slicer.modules.TinyInstance.moduleName == "Tiny"
    tiny.panel("Tiny")
    assert calls() == ["setup", "enter"]
    assert slicer.modules.tiny.widgetRepresentation().self() is slicer.modules.TinyWidget


def test_leaving_a_module_calls_exit_and_closing_calls_cleanup(tmp_path):
    from Testing.harness.running import slicer_running

    file = tmp_path / "Tiny.py"
    file.write_text(textwrap.dedent(SOURCE))
    with slicer_running() as harness:
        harness.load_module(file)
        harness.panel("Tiny")
        slicer.util.selectModule("Volumes")
        heard = calls()
    assert heard == ["setup", "enter", "exit", "cleanup"]


def test_reloading_makes_a_new_panel_from_the_new_source(tiny, tmp_path):
    from Testing.harness import kit

    before, heard = tiny.panel("Tiny"), calls()
    old_button = before.button
    (tmp_path / "Tiny.py").write_text(textwrap.dedent(SOURCE).replace("Press", "New"))
    before.onReload()
    kit.process()
    after = slicer.modules.TinyWidget
    assert after is not before
    assert after.button.text == "New"
    assert heard == ["setup", "enter", "cleanup"]
    assert not old_button.visible


def test_the_modules_own_test_runs(tiny):
    slicer.selfTests["Tiny"]()
    assert calls() == ["test"]


def test_a_click_and_a_shortcut_reach_the_panel(tiny):
    from Testing.harness import kit

    panel = tiny.panel("Tiny")
    kit.click_text(panel, "Press")
    kit.press(panel, "Ctrl+Z")
    assert calls()[2:] == ["pressed", "undo"]


def test_keys_typed_into_a_field_stay_there(tiny):
    from Testing.harness import kit

    panel = tiny.panel("Tiny")
    kit.type_text(panel.field, "Ann")
    assert panel.field.text == "Ann"


def test_what_is_disabled_or_hidden_cannot_be_clicked(tiny):
    from Testing.harness import kit

    button = tiny.panel("Tiny").button
    button.enabled = False
    with pytest.raises(AssertionError, match="pressButton is disabled"):
        kit.click(button)
    button.enabled, button.visible = True, False
    with pytest.raises(AssertionError, match="not shown"):
        kit.click(button)


def test_a_panel_can_be_pictured(tiny, tmp_path):
    from PIL import Image

    from Testing.harness import kit

    panel = tiny.panel("Tiny")
    with Image.open(kit.picture(panel.parent, tmp_path / "panel.png")) as image:
        assert image.width > 100


def test_a_frozen_gui_thread_is_noticed(slicer_harness):
    import time

    from Testing.harness import kit

    with kit.FrozenWatch() as watch:
        kit.process(100)
        calm = watch.longest_ms
        time.sleep(0.25)
        kit.process(30)
    assert calm < 200
    assert watch.longest_ms >= 250


def test_waiting_for_what_does_not_come_fails(slicer_harness):
    from Testing.harness import kit

    with pytest.raises(AssertionError, match="still not: rain"):
        kit.until(lambda: False, seconds=0.05, what="rain")


def test_without_a_main_window_there_is_none(tmp_path):
    from Testing.harness.running import slicer_running

    with slicer_running(main_window=False):
        assert slicer.util.mainWindow() is None
        assert slicer.util.showStatusMessage("x") is False
        assert slicer.app.commandOptions().noMainWindow


def test_in_testing_mode_no_dialog_is_opened():
    from Testing.harness import dialogs
    from Testing.harness.running import slicer_running

    with slicer_running(testing=True):
        before = len(dialogs.shown)
        # Slicer's own function compares True with a button here, and so says no
        assert slicer.util.confirmOkCancelDisplay("sure?") is False
        slicer.util.errorDisplay("wrong")
        assert len(dialogs.shown) == before


def test_packages_are_checked_truly_and_never_installed(slicer_harness):
    from Testing.harness import dialogs, packages

    packages.asked.clear()
    assert slicer.packaging.pip_check("numpy>=1")
    assert not slicer.packaging.pip_check(["numpy>=1", "no-such-package-at-all"])
    with dialogs.answers("Cancel"), pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure("no-such-package-at-all", requester="us")
    with dialogs.answers("OK"):
        slicer.packaging.pip_ensure("no-such-package-at-all", requester="us")
    assert packages.asked == [["no-such-package-at-all"]]


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


def wrapped(node=None):
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        share: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
        word: Annotated[str, Choice(["a", "b"])] = "a"
        count: Annotated[int, Default(3)]
        on: bool = False
        kind: Kind = Kind.TWO
        names: list[str]
        pair: tuple[int, str]

    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    return Parameters(node or ScriptedLoadableModuleLogic().getParameterNode())


def test_parameters_have_their_defaults_and_refuse_what_is_wrong(slicer_harness):
    values = wrapped()
    assert (values.volume, values.share, values.word, values.count) == (None, 0.5, "a", 3)
    assert (values.on, values.kind, values.names, values.pair) == (False, Kind.TWO, [], (0, ""))
    for name, wrong in (("share", 2.0), ("word", "z"), ("count", "3"), ("on", 1), ("count", None)):
        with pytest.raises((ValueError, TypeError)):
            setattr(values, name, wrong)


def test_parameters_come_back_from_a_saved_scene(slicer_harness, tmp_path):
    values = wrapped()
    values.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    values.share, values.word, values.on, values.kind = 0.25, "b", True, Kind.ONE
    values.names = ["x", "y"]
    values.names.append("z")
    values.pair = (4, "four")
    path = str(tmp_path / "scene.mrml")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(1)
    slicer.util.loadScene(path)
    again = wrapped()
    assert again.volume.GetName() == "CT"
    assert (again.share, again.word, again.on, again.kind) == (0.25, "b", True, Kind.ONE)
    assert (list(again.names), again.pair) == (["x", "y", "z"], (4, "four"))


def test_widgets_and_parameters_follow_each_other(slicer_harness):
    import ctk
    import qt

    values = wrapped()
    box, slider, combo = qt.QCheckBox(), ctk.ctkSliderWidget(), qt.QComboBox()
    nodes = slicer.qMRMLNodeComboBox()
    nodes.noneEnabled = True
    nodes.setMRMLScene(slicer.mrmlScene)
    slider.singleStep = 0.01
    tag = values.connectParametersToGui(
        {"on": box, "share": slider, "word": combo, "volume": nodes}
    )
    assert (slider.value, slider.maximum, combo.count) == (0.5, 1.0, 2)
    box.checked = True
    combo.currentIndex = 1
    assert (values.on, values.word) == (True, "b")
    values.share = 0.75
    assert slider.value == 0.75
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    nodes.setCurrentNode(volume)
    assert values.volume is volume
    values.disconnectGui(tag)
    box.checked = False
    assert values.on is True


def test_a_widget_slicer_cannot_bind_is_refused(slicer_harness):
    import ctk
    import qt

    values = wrapped()
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        values.connectParametersToGui({"on": qt.QLineEdit()})
    with pytest.raises(RuntimeError, match="unbounded"):
        values.connectParametersToGui({"count": ctk.ctkSliderWidget()})
    with pytest.raises(ValueError, match="no parameter"):
        values.connectParametersToGui({"nothing": qt.QLineEdit()})


UI = """
    <ui version="4.0"><widget class="qMRMLWidget" name="Tiny"><layout class="QVBoxLayout">
    <item><widget class="qMRMLNodeComboBox" name="volumes">
      <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist>
      </property><property name="noneEnabled"><bool>true</bool></property>
      <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
    </widget></item>
    <item><widget class="ctkCollapsibleButton" name="section">
      <property name="text"><string>More</string></property>
      <property name="collapsed"><bool>true</bool></property>
      <layout class="QVBoxLayout"><item><widget class="QCheckBox" name="tick">
      <property name="SlicerParameterName" stdset="0"><string>on</string></property>
      </widget></item></layout></widget></item></layout></widget>
    <connections><connection><sender>Tiny</sender>
      <signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>volumes</receiver>
      <slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>
"""


@pytest.fixture
def ui(slicer_harness, tmp_path):
    file = tmp_path / "Tiny.ui"
    file.write_text(UI.replace("\n    ", "\n"))
    return slicer.util.loadUI(str(file))


def test_a_ui_file_gives_its_widgets_by_name_and_wires_them(ui):
    widgets = slicer.util.childWidgetVariables(ui)
    assert type(widgets.volumes) is slicer.qMRMLNodeComboBox
    assert tuple(widgets.volumes.nodeTypes) == ("vtkMRMLScalarVolumeNode",)
    assert widgets.volumes.mrmlScene() is None
    ui.setMRMLScene(slicer.mrmlScene)
    assert widgets.volumes.mrmlScene() is slicer.mrmlScene
    assert widgets.section.collapsed
    ui.show()
    assert not widgets.tick.visible
    widgets.section.collapsed = False
    assert widgets.tick.visible


def test_widgets_of_a_ui_file_are_bound_by_their_parameters_name(ui):
    ui.setMRMLScene(slicer.mrmlScene)
    widgets = slicer.util.childWidgetVariables(ui)
    values = wrapped()
    values.connectGui(ui)
    widgets.tick.checked = True
    assert values.on is True


def test_meddetect_itself_loads_and_opens(meddetect, tmp_path):
    from Testing.harness import kit

    panel = meddetect.panel()
    assert slicer.modules.meddetect.title == "MedDetect"
    assert panel.parent.isEntered
    kit.process(20)


def test_meddetect_imports_nothing_heavy_when_it_is_loaded(slicer_harness):
    from Testing.harness.running import measure_load

    _seconds, imported = measure_load()
    heavy = {"torch", "onnxruntime", "openvino", "monai", "pydicom", "SimpleITK", "jsonschema"}
    assert {name.split(".")[0] for name in imported}.isdisjoint(heavy)
    assert "MedDetect" in imported
