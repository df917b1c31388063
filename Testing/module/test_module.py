"""The Slicer module as Slicer sees it: its self-test, its sample data, what loading it costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_SLICER = (
    "jsonschema", "matplotlib", "monai", "nibabel", "nnunetv2", "onnx", "onnxruntime", "openvino",
    "pandas", "rich", "skimage", "tensorrt", "torch",
)  # fmt: skip


def run_self_test(harness, *, use_worker):
    harness.load_module()
    import slicer

    module = sys.modules["MedDetect"]
    module.MedDetectTest.useWorker = use_worker
    slicer.selfTests["MedDetect"](msec=0)
    panel = slicer.util.getModuleWidget("MedDetect").panel
    assert panel.parameters.reviewer == ""  # it leaves neither its name nor its folders
    assert "meddetect-test-" not in panel.parameters.storeFolder


def test_the_modules_own_self_test_passes(slicer_harness):
    run_self_test(slicer_harness, use_worker=False)


def test_the_modules_own_self_test_passes_without_a_main_window():
    from Testing.harness.running import slicer_running

    with slicer_running(main_window=False, testing=True) as harness:
        run_self_test(harness, use_worker=False)


@pytest.mark.slow
def test_the_modules_own_self_test_passes_with_the_real_worker(slicer_harness):
    run_self_test(slicer_harness, use_worker=True)


def test_the_panels_path_needs_nothing_that_slicer_does_not_ship():
    """The whole loop, in a Python where everything else is behind a wall."""
    script = f"""
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {NOT_IN_SLICER!r}:
            raise ImportError(name + ' is behind the wall')
sys.meta_path.insert(0, Wall())
from Testing.harness.running import slicer_running
from Testing.module.test_module import run_self_test
with slicer_running() as harness:
    run_self_test(harness, use_worker=False)
assert not set(sys.modules) & set({NOT_IN_SLICER!r})
print("the whole loop, done")
os_exit = __import__("os")._exit
sys.stdout.flush()
os_exit(0)
"""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=240, check=False, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert "the whole loop, done" in done.stdout, done.stderr[-3000:]


def test_loading_the_module_is_quick_and_imports_nothing_heavy(slicer_harness):
    from Testing.harness.running import measure_load

    seconds, imported = measure_load()
    print(f"loaded in {1000 * seconds:.1f} ms")
    heavy = {"scipy", "SimpleITK", "pydicom", "highdicom", "sqlite3", *NOT_IN_SLICER}
    assert not {name.split(".")[0] for name in imported} & heavy
    assert not any(name.startswith("MedDetectUI") for name in imported)
    assert seconds < 0.1


def test_the_bundled_phantoms_are_registered_with_pictures_and_need_no_network(slicer_harness):
    slicer_harness.load_module()
    import slicer

    sources = slicer.modules.sampleDataSources["MedDetect"]
    assert [source.nodeNames for source in sources] == [["demo-chest-ct"], ["demo-brain-mr"]]
    for source in sources:
        assert source.uris[0].startswith("file:///")
        assert Path(source.thumbnailFileName).is_file()


def test_the_module_says_what_it_is(slicer_harness):
    module = slicer_harness.load_module()
    assert module.title == "MedDetect"
    assert "not a medical device" in module.helpText
    assert module.acknowledgementText


def test_every_file_of_the_module_is_installed():
    listed = (ROOT / "MedDetect" / "CMakeLists.txt").read_text("utf-8")
    here = ROOT / "MedDetect"
    files = [p for p in here.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    missing = [
        path.relative_to(here).as_posix()
        for path in files
        if path.name != "CMakeLists.txt"
        and f"  {path.relative_to(here).as_posix()}\n" not in listed
    ]
    assert missing == []
    names = [line.strip() for line in listed.splitlines() if line.startswith("  ")]
    gone = [n for n in names if n.endswith((".py", ".ui", ".png", ".txt")) and " " not in n]
    assert [name for name in gone if not (here / name).is_file()] == []
