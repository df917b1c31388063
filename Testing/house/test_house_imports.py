"""Who may import whom, read from the source and not from anybody's memory."""

from __future__ import annotations

import ast
import fnmatch
import json
import subprocess
import sys

import pytest

MAY_IMPORT = {
    "core": set(),
    "models": {"core"},
    "cases": {"core"},
    "inference": {"core", "models", "cases"},
    "evaluation": {"core", "models", "cases", "inference"},
    "review": {"core", "models", "cases", "inference", "evaluation"},
    "learning": {"core", "models", "cases", "inference", "evaluation", "review"},
    "adapters": {"core", "models", "cases", "inference", "evaluation", "review", "learning"},
}

ONLY_IN = {
    "slicer": ["adapters/mrml/*", "adapters/mrml.py", "adapters/browser/*"],
    "vtk": ["adapters/mrml/*", "adapters/mrml.py", "adapters/browser/*"],
    "vtkmodules": ["adapters/mrml/*", "adapters/mrml.py", "adapters/browser/*"],
    "trame": ["adapters/browser/*"],
    "qt": [],
    "ctk": [],
    "PySide6": [],
    "PyQt5": [],
    "torch": ["learning/*", "inference/backends/torch*.py", "inference/backends/tensorrt*.py",
              "inference/device/*", "evaluation/bench/*"],
    "monai": ["learning/*", "models/importers/*", "evaluation/bench/*"],
    "nnunetv2": ["evaluation/bench/*"],
    "onnx": ["learning/*", "models/importers/*", "evaluation/bench/*",
             "inference/backends/onnx_*.py"],
    "onnxruntime": ["inference/backends/onnxruntime.py", "learning/train*.py",
                    "learning/evaluate*.py", "evaluation/bench/*"],
    "openvino": ["inference/backends/openvino.py", "inference/backends/openvino_graph.py"],
    "tensorrt": ["inference/backends/tensorrt*.py"],
    "tensorrt_rtx": ["inference/backends/tensorrt*.py"],
    "tensorrt_rtx_bindings": ["inference/backends/tensorrt*.py"],
    "SimpleITK": ["cases/*", "evaluation/bench/*", "learning/make_samples.py"],
    "pydicom": ["cases/*"],
    "highdicom": ["cases/*"],
    "pynetdicom": ["cases/clinical/pacs_dimse.py"],
    "dicomweb_client": ["cases/clinical/pacs_web.py"],
    "requests": ["cases/clinical/pacs_web.py"],
    "nibabel": [],
    "matplotlib": ["adapters/montage*.py"],
    "jsonschema": ["models/card_file.py"],
    "rich": ["adapters/cli/*"],
    "scipy": ["cases/*", "inference/*", "learning/*", "evaluation/*", "review/*", "adapters/*"],
    "ray": ["adapters/batch/*"],
}  # fmt: skip
"""Third parties, and the files that exist for them."""

AT_LOAD = {
    "torch": ["learning/networks.py", "learning/train*.py", "learning/losses.py"],
    "slicer": ["adapters/mrml/*"],
    "vtk": ["adapters/mrml/*"],
    "vtkmodules": ["adapters/mrml/*"],
    "scipy": ["adapters/mrml/*", "learning/*"],
}
"""Files that are loaded only by whoever wants the third party: they may import it at once."""


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def ours(module):
    """The room of a module of ours; None for others and for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "MedDetectLib" and len(parts) > 1 else None


def test_imports_point_inward(sources):
    wrong = [
        f"{source.path}:{found.line} imports {found.module}"
        for source in sources
        if source.room
        for found in source.imports
        if ours(found.module) in MAY_IMPORT
        and ours(found.module) != source.room
        and ours(found.module) not in MAY_IMPORT[source.room]
    ]
    assert wrong == []


def test_every_room_is_known(sources):
    assert {source.room for source in sources} - {""} <= set(MAY_IMPORT)


def test_inside_the_library_imports_are_written_out_in_full(sources):
    relative = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_third_parties_are_imported_only_in_the_files_that_exist_for_them(sources):
    wrong = [
        f"{source.path}:{found.line} imports {found.module}"
        for source in sources
        for found in source.imports
        if found.module.split(".")[0] in ONLY_IN
        and not matches(source.path, ONLY_IN[found.module.split(".")[0]])
    ]
    assert wrong == []


def test_every_third_party_has_its_place(sources):
    known = {*ONLY_IN, *sys.stdlib_module_names, "MedDetectLib", "numpy", "winreg", "msvcrt"}
    unknown = sorted(
        {
            f"{found.module.split('.')[0]} ({source.path})"
            for source in sources
            for found in source.imports
            if found.module.split(".")[0] not in known
        }
    )
    assert unknown == []


def test_third_parties_are_imported_when_used_not_when_loaded(sources):
    wrong = [
        f"{source.path}:{found.line} imports {found.module}"
        for source in sources
        for found in source.imports
        if found.at_load
        and found.module.split(".")[0] in ONLY_IN
        and not matches(source.path, AT_LOAD.get(found.module.split(".")[0], []))
    ]
    assert wrong == []


def test_core_is_numpy_and_the_standard_library(sources):
    tops = {
        found.module.split(".")[0]
        for source in sources
        if source.room == "core"
        for found in source.imports
    }
    assert tops <= {*sys.stdlib_module_names, "numpy", "MedDetectLib"}


def test_no_import_is_hidden_from_these_tests(sources):
    """`importlib.import_module` only where the package's own names are looked up."""
    callers = {
        source.path
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
    }
    assert callers <= {"__init__.py", "adapters/cli/doctor_command.py"}


# --- what really happens --------------------------------------------------------------

HEAVY = sorted({*ONLY_IN, "PIL", "pandas", "onnxscript"})


def loaded_after(code, *, blocked=()):
    """Third parties that a fresh Python has loaded after running some code."""
    script = f"""
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {tuple(blocked)!r}:
            raise ImportError(name + ' is behind the wall')
sys.meta_path.insert(0, Wall())
{code}
import json
print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r}))))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "code",
    [
        "import MedDetectLib",
        "from MedDetectLib import Finding, Findings, Geometry, Volume, Watch",
        "from MedDetectLib import detect, load_model",
        "from MedDetectLib import read_volume",
        "import MedDetectLib.inference.box_scores, MedDetectLib.inference.voxel_scores",
        "import MedDetectLib.models.registry, MedDetectLib.inference.backends.choose",
        "import MedDetectLib.adapters.cli.main",
    ],
)
def test_loading_the_front_doors_costs_no_third_party_but_numpy(code):
    assert loaded_after(code) == []


def test_importing_the_package_alone_loads_no_room():
    code = """
import MedDetectLib
rooms = [name for name in sys.modules if name.startswith('MedDetectLib.')]
assert rooms == [], rooms
"""
    loaded_after(code)


def test_every_file_of_core_models_and_inference_loads_without_any_third_party(sources):
    names = [
        "MedDetectLib." + source.path.removesuffix(".py").replace("/", ".")
        for source in sources
        if source.room in ("core", "models", "inference")
        and not source.path.endswith(("__init__.py", "__main__.py"))
        and not source.path.startswith("inference/worker/windows")
    ]
    assert len(names) > 25
    code = "import " + ", ".join(names)
    assert loaded_after(code, blocked=HEAVY) == []


def test_a_volume_goes_through_a_model_with_no_third_party_but_numpy_scipy_and_jsonschema():
    """What the panel's process needs when the network itself runs elsewhere."""
    code = """
import numpy as np
from MedDetectLib import Geometry, Volume, detect
from MedDetectLib.inference.backends.function import FunctionBackend
from MedDetectLib.inference.model import Model
from MedDetectLib.models.card import ModelCard
card = ModelCard.from_json({
    "name": "t", "version": "1.0.0", "task": "segmentation", "weights": "w", "files": {"w": "0"},
    "input": {"tensor": "x", "channels": [{"name": "CT"}], "window": {"shape_kji": [4, 4, 4]},
              "orientation": "RAS", "spacing_kji_mm": [2.0, 1.0, 1.0]},
    "output": {"head": "voxel_scores", "tensor": "y", "activation": "sigmoid",
               "labels": [{"value": 1, "name": "a", "colour_rgb": [1, 2, 3]}]}})
model = Model(card, FunctionBackend(lambda batch: {"y": batch - 0.5}))
volume = Volume(np.ones((6, 7, 8)), Geometry((6, 7, 8), np.eye(4)))
assert len(detect(volume, model)) == 1
"""
    wall = [name for name in HEAVY if name != "scipy"]
    assert loaded_after(code, blocked=wall) == ["scipy"]


def test_the_public_names_are_exactly_what_is_exported():
    import MedDetectLib

    assert MedDetectLib.__all__ == [
        "__version__", "Finding", "Findings", "Geometry", "Volume", "Watch", "detect",
        "load_model", "read_volume",
    ]  # fmt: skip
    for name in MedDetectLib.__all__:
        assert getattr(MedDetectLib, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        MedDetectLib.no_such_name  # noqa: B018


def test_every_module_exports_names_it_has_and_in_order(sources):
    import importlib

    for source in sources:
        if source.room not in ("core", "models", "inference") or "__" in source.path:
            continue
        if source.path.startswith("inference/worker/windows"):
            continue
        name = "MedDetectLib." + source.path.removesuffix(".py").replace("/", ".")
        module = importlib.import_module(name)
        names = getattr(module, "__all__", None)
        assert names is not None, f"{name} has no __all__"
        assert len(names) == len(set(names)), name
        missing = [n for n in names if not hasattr(module, n)]
        assert missing == [], name
