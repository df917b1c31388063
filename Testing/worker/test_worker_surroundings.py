"""What the two halves may import, inherit and leave to each other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from worker_samples import oblique_volume, segments_of

from MedDetectLib.core.errors import Cancelled, InputError, MedDetectError, WorkerFailed
from MedDetectLib.core.memory import available_bytes
from MedDetectLib.inference.worker import protocol
from MedDetectLib.inference.worker.environment import worker_environment
from MedDetectLib.inference.worker.shared_arrays import SharedArray
from MedDetectLib.inference.worker.spares import Spares

LIBRARY = Path(protocol.__file__).resolve().parents[3]


def test_the_clients_half_needs_only_numpy_and_core(threshold_model: Path) -> None:
    code = """
        import sys
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                root = name.partition(".")[0]
                if root in sys.stdlib_module_names or root in ("numpy", "worker_samples"):
                    return None
                allowed = ("MedDetectLib.core", "MedDetectLib.inference.worker")
                if name in ("MedDetectLib", "MedDetectLib.inference") or name.startswith(allowed):
                    return None
                raise ImportError(f"{name} may not be imported in Slicer")
        sys.meta_path.insert(0, Blocker())
        import numpy as np
        from MedDetectLib.core.geometry import Geometry
        from MedDetectLib.core.volume import Volume
        from MedDetectLib.inference.worker.client import WorkerClient
        array = np.zeros((8, 9, 10), np.int16)
        array[2:5, 2:6, 2:7] = 500
        volume = Volume(array, Geometry.from_axes(array.shape, (2, 1.5, 1.5)), "CT")
        with WorkerClient(sys.executable) as client:
            print(len(client.detect(volume, sys.argv[1])))
        print("multiprocessing" in sys.modules, "threads", __import__("threading").active_count())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(threshold_model)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "False", "threads", "1"]
    assert done.stderr == ""


def test_slicers_launcher_does_not_reach_the_worker() -> None:
    slicer = "/opt/Slicer-5.13"
    environment = {
        "SLICER_HOME": slicer,
        "APPLAUNCHER_LEVEL": "1",
        "APPLAUNCHER_0_PATH": "/usr/bin",
        "APPLAUNCHER_0_LD_LIBRARY_PATH": "/opt/cuda/lib",
        "PATH": f"{slicer}/bin:/usr/bin",
        "LD_LIBRARY_PATH": f"{slicer}/lib:/ext/lib:/opt/cuda/lib",
        "QT_PLUGIN_PATH": f"{slicer}/lib/QtPlugins",
        "PYTHONHOME": f"{slicer}/lib/Python",
        "PYTHONPATH": f"{slicer}/lib/Python/Lib",
        "PYTHONNOUSERSITE": "1",
        "MEDDETECT_MODELS": "/models",
    }
    assert worker_environment(environment, ["/worker/packages"]) == {
        "SLICER_HOME": slicer,
        "PATH": "/usr/bin",
        "LD_LIBRARY_PATH": "/opt/cuda/lib",
        "PYTHONPATH": f"{LIBRARY}{os.pathsep}/worker/packages",
        "PYTHONUTF8": "1",
        "MEDDETECT_MODELS": "/models",
    }


def test_folders_of_slicer_leave_search_paths_even_if_no_launcher_told() -> None:
    clean = worker_environment({"SLICER_HOME": "/opt/S", "PATH": "/opt/S/bin:/opt/Sx/bin:/bin"})
    assert clean["PATH"] == "/opt/Sx/bin:/bin"
    clean = worker_environment({"LD_LIBRARY_PATH": "/opt/cuda/lib", "PYTHONHOME": "/x"})
    assert clean["LD_LIBRARY_PATH"] == "/opt/cuda/lib"
    assert "PYTHONHOME" not in clean


@pytest.mark.parametrize(
    "error",
    [
        InputError("slice-gap", "ünusual 'quotes'\nand lines", where="/a b/c", todo="x"),
        MedDetectError("odd", "what", exit_code=3),
        Cancelled(where="there"),
    ],
)
def test_an_error_survives_the_journey(error: MedDetectError) -> None:
    line = protocol.encode(protocol.error_to_json(error))
    assert line.count(b"\n") == 1
    back = protocol.error_from_json(protocol.decode(line))
    assert (type(back), str(back), back.exit_code) == (type(error), str(error), error.exit_code)


def test_a_volume_survives_the_journey() -> None:
    volume = oblique_volume(4, "<f4")
    with_owner = SharedArray.copy_of(volume.array)
    told = protocol.decode(protocol.encode(protocol.volume_to_json(volume, with_owner)))
    seen = SharedArray.attach(told["voxels"])
    back = protocol.volume_from_json(told, seen)
    assert back.sha256 == volume.sha256
    assert (back.name, back.modality, back.notes) == (volume.name, volume.modality, volume.notes)
    assert np.array_equal(back.geometry.ijk_to_ras, volume.geometry.ijk_to_ras)
    with pytest.raises(ValueError, match="read-only"):
        back.array[0, 0, 0] = 1
    told_voxels = told["voxels"]
    del back
    seen.close()
    with_owner.close()
    with pytest.raises(WorkerFailed, match="lost-shared-memory"):
        SharedArray.attach(told_voxels)


def test_an_array_nobody_holds_gives_its_name_back() -> None:
    array = SharedArray.create((5,), "u1")
    assert len(segments_of(os.getpid())) == 1
    del array
    assert segments_of(os.getpid()) == []


def test_more_shared_memory_than_there_is_is_refused_not_a_crash() -> None:
    with pytest.raises(WorkerFailed, match=r"no-shared-memory.*give it more memory"):
        SharedArray.create((available_bytes() * 2,), "u1")
    assert segments_of(os.getpid()) == []


def test_memory_that_comes_back_is_handed_out_again_and_only_so_much_is_kept() -> None:
    spares = Spares(keep_bytes=3000)
    first = SharedArray.create((10, 100), "u1", spares)
    place = first.to_json()["name"]
    first.recycle()
    again = SharedArray.create((10, 60), "u1", spares)  # half as large at the least: reused
    assert again.to_json()["name"] == place
    small = SharedArray.create((10,), "u1", spares)
    assert small.to_json()["name"] != place
    others = [SharedArray.create((1500,), "u1", spares) for _ in range(2)]
    for array in (again, small, *others):
        array.recycle()
        array.recycle()
    assert [segment.size for segment in spares.kept] == [1500, 1500]  # the last to come back
    assert segments_of(os.getpid()) == []
    spares.clear()
    assert spares.kept == ()


def test_memory_whose_number_stands_for_another_file_by_now_is_refused() -> None:
    array = SharedArray.create((5,), "u1")
    told = array.to_json()
    array.close()
    with tempfile.TemporaryFile() as other:
        assert told["name"] == f"/proc/{os.getpid()}/fd/{other.fileno()}"
        with pytest.raises(WorkerFailed, match="lost-shared-memory"):
            SharedArray.attach(told)
