"""Every name the panel uses of Qt, CTK and Slicer is one that Slicer's Python knows."""

from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "MedDetect"


@pytest.fixture(scope="module")
def reading():
    from Testing.harness import reading, running  # noqa: F401  (running registers the classes)

    return reading


@pytest.fixture(scope="module")
def widgets(reading):
    found = {}
    for path in (MODULE / "Resources" / "UI").glob("*.ui"):
        found |= reading.ui_classes(path)
    return found


def test_the_ui_files_name_only_what_slicer_has(reading):
    wrong = [w for p in (MODULE / "Resources/UI").glob("*.ui") for w in reading.wrong_in_ui(p)]
    assert wrong == []


def test_the_panels_code_names_only_what_slicer_has(reading, widgets):
    assert len(widgets) > 30
    wrong = [w for p in reading.panel_sources(MODULE) for w in reading.wrong_in_code(p, widgets)]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("b = qt.QPushButton()\nb.txt = 'x'", "no 'txt'"),
        ("b = qt.QPushButton()\nb.text()", "not callable"),
        ("b = qt.QPushButton()\nb.setText = 'x'", "cannot be set"),
        ("b = qt.QPushButton(text='x')", "keyword"),
        ("b = qt.QPushButton()\nb.connect('clicked(int)', f)", "not 'int'"),
        ("b = qt.QPushButton()\nb.connect('pushed()', f)", "no signal"),
        ("qt.QPushButon()", "no qt.QPushButon"),
        ("qt.Qt.AlignLeftish", "no 'AlignLeftish'"),
        ("slicer.qMRMLNodeCombobox()", "no slicer.qMRMLNodeCombobox"),
        ("slicer.util.loadUi('x')", "no slicer.util.loadUi"),
        ("slicer.packaging.pip_need('x')", "no slicer.packaging.pip_need"),
        ("c = slicer.qMRMLNodeComboBox()\nc.connect('currentNodeChanged(int)', f)", "not 'int'"),
        ("s = ctk.ctkSliderWidget()\ns.setMinimum(1)", "no 'setMinimum'"),
        ("slicer.app.openModule('x')", "no 'openModule'"),
        ("x.connect('neverHeardOf(bool)', f)", "no class"),
        ("self.ui.nobody.text", "no widget 'nobody'"),
        ("self.ui.runner.txt", "no 'txt'"),
    ],
)
def test_a_name_slicer_lacks_is_found_in_code(reading, tmp_path, line, said):
    file = tmp_path / "code.py"
    file.write_text(line)
    found = reading.wrong_in_code(file, {"runner": "qt.QPushButton"})
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "line",
    [
        "b = qt.QPushButton('x')\nb.text = b.text + '!'\nb.connect('clicked(bool)', f)",
        "c = slicer.qMRMLNodeComboBox()\nc.connect('currentNodeChanged(vtkMRMLNode*)', f)",
        "c = slicer.qMRMLNodeComboBox()\nc.currentNodeChanged.connect(f)",
        "item = qt.QTableWidgetItem('x')\nitem.text()",
        "qt.QTimer.singleShot(0, f)\nx = qt.Qt.AlignLeft | qt.Qt.AlignTop",
        "self.ui.runner.enabled = False",
    ],
)
def test_what_slicer_has_is_not_complained_of(reading, tmp_path, line):
    file = tmp_path / "code.py"
    file.write_text(line)
    assert reading.wrong_in_code(file, {"runner": "qt.QPushButton"}) == []


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ('<property name="texd"><string>x</string></property>', "no 'texd'"),
        ('<property name="SlicerThing" stdset="0"><string>x</string></property>', ""),
    ],
)
def test_a_property_slicer_lacks_is_found_in_a_ui_file(reading, tmp_path, xml, said):
    file = tmp_path / "panel.ui"
    file.write_text(f'<ui version="4.0"><widget class="QLabel" name="one">{xml}</widget></ui>')
    found = reading.wrong_in_ui(file)
    assert len(found) == (1 if said else 0)
    assert said in "".join(found)


def test_a_connection_of_a_ui_file_is_checked_at_both_ends(reading, tmp_path):
    file = tmp_path / "panel.ui"
    file.write_text(
        '<ui version="4.0"><widget class="qMRMLWidget" name="top">'
        '<widget class="qMRMLNodeComboBox" name="combo"/></widget><connections>'
        "<connection><sender>top</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
        "<receiver>combo</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
        "<connection><sender>top</sender><signal>sceneMoved()</signal>"
        "<receiver>combo</receiver><slot>takeScene()</slot></connection></connections></ui>"
    )
    found = reading.wrong_in_ui(file)
    assert len(found) == 2
    assert "sceneMoved" in found[0]
    assert "takeScene" in found[1]
