"""Slicer's CMake lists and the wheel both hold exactly what the tree holds."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "MedDetectLib"


def listed(cmake, variable):
    text = (ROOT / cmake).read_text("utf-8")
    found = re.search(rf"set\({variable}\s(.*?)\)", text, re.DOTALL)
    return set(found.group(1).split())


def lying_in(folder, *endings):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name.endswith(endings) and "__pycache__" not in path.parts
    }


def test_slicer_installs_every_file_of_the_library():
    assert listed("MedDetectLib/CMakeLists.txt", "LIBRARY_PYTHON_SCRIPTS") == lying_in(
        LIBRARY, ".py"
    )
    others = lying_in(LIBRARY, "") - lying_in(LIBRARY, ".py") - {"CMakeLists.txt"}
    assert listed("MedDetectLib/CMakeLists.txt", "LIBRARY_PYTHON_RESOURCES") == others


def test_slicer_installs_every_file_of_the_module():
    module = ROOT / "MedDetect"
    assert listed("MedDetect/CMakeLists.txt", "MODULE_PYTHON_SCRIPTS") == lying_in(module, ".py")
    others = lying_in(module, "") - lying_in(module, ".py") - {"CMakeLists.txt"}
    assert listed("MedDetect/CMakeLists.txt", "MODULE_PYTHON_RESOURCES") == others


def test_the_extension_adds_library_and_module():
    text = (ROOT / "CMakeLists.txt").read_text("utf-8")
    assert "add_subdirectory(MedDetectLib)" in text
    assert "add_subdirectory(MedDetect)" in text


def test_the_wheel_lists_every_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = set(project["tool"]["setuptools"]["packages"])
    in_tree = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in LIBRARY.rglob("__init__.py")
    }
    assert packages == in_tree | {"MedDetectLib.Resources"}


@pytest.mark.slow
def test_the_wheel_works_away_from_the_tree(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    asked = (
        "from MedDetectLib import load_model; from MedDetectLib.models import registry;"
        "print(registry.resource_folder()); load_model('demo-chest-ct').close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path / "site", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
