"""The Slicer module's own self-test and logic, run over real MRML without the application.

Only what the application adds to Slicer's Python is stood in for here: base classes that
hold no behaviour the module relies on, and a scene under the global name Slicer gives it.
"""

import importlib.util
import sys
import types
import unittest
from pathlib import Path

import pytest
import slicer

from MedDetectLib.adapters.mrml.scene import new_scene

ROOT = Path(__file__).resolve().parents[2]


class _Base:
    def __init__(self, *_arguments):
        self.parent = types.SimpleNamespace()


@pytest.fixture
def module(monkeypatch):
    bases = types.ModuleType("slicer.ScriptedLoadableModule")
    bases.ScriptedLoadableModule = type("ScriptedLoadableModule", (_Base,), {})
    bases.ScriptedLoadableModuleLogic = type("ScriptedLoadableModuleLogic", (_Base,), {})
    bases.ScriptedLoadableModuleWidget = type("ScriptedLoadableModuleWidget", (_Base,), {})
    bases.ScriptedLoadableModuleTest = type(
        "ScriptedLoadableModuleTest", (unittest.TestCase,), {"runTest": lambda self: None}
    )
    texts = types.ModuleType("slicer.i18n")
    texts.tr = lambda text: text
    texts.translate = lambda context, text: text
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", bases)
    monkeypatch.setitem(sys.modules, "slicer.i18n", texts)
    monkeypatch.setitem(sys.modules, "qt", types.ModuleType("qt"))
    monkeypatch.setitem(sys.modules, "ctk", types.ModuleType("ctk"))
    monkeypatch.setattr(slicer, "mrmlScene", new_scene(), raising=False)
    spec = importlib.util.spec_from_file_location("MedDetect", ROOT / "MedDetect/MedDetect.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_modules_own_self_test_passes(module):
    module.MedDetectTest().runTest()


def test_a_dragged_box_is_saved_with_the_findings(module, tmp_path):
    from MedDetectLib.cases.findings_files import read_findings, write_findings

    write_findings(module._ballFindings(), tmp_path)
    logic = module.MedDetectLogic()
    node = logic.openResults(tmp_path)
    roi = logic.showBox(node, "F1")
    i, j, k = roi.GetSize()
    roi.SetSize(i / 2, j, k)
    logic.saveResults(node, tmp_path / "corrected", roi)
    before, after = read_findings(tmp_path).items[0], read_findings(tmp_path / "corrected").items[0]
    assert after.state == "edited"
    assert after.box[5] - after.box[2] == pytest.approx((before.box[5] - before.box[2]) / 2, abs=1)
    assert after.volume_ml < before.volume_ml


def test_another_box_replaces_the_one_in_the_scene(module, tmp_path):
    from MedDetectLib.cases.findings_files import write_findings

    write_findings(module._ballFindings(), tmp_path)
    logic = module.MedDetectLogic()
    node = logic.openResults(tmp_path)
    roi = logic.showBox(node, "F1")
    logic.showBox(node, "F1", roi)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1


def test_the_module_imports_nothing_heavy_when_slicer_starts():
    source = (ROOT / "MedDetect/MedDetect.py").read_text("utf-8")
    at_top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    named = {line.split()[1].split(".")[0] for line in at_top}
    assert named == {"pathlib", "ctk", "qt", "slicer"}
