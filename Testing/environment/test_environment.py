"""The worker's own environment: whole or not there, whatever happens to the installation."""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from wheels import make_wheel

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.adapters.environment import EngineEnvironment, engine_environment
from MedDetectLib.adapters.environment import installation as installation_module
from MedDetectLib.adapters.environment.needed import Needed, needed_packages
from MedDetectLib.cases.atomic import write_bytes
from MedDetectLib.core.errors import BackendUnavailable, Cancelled, StoreError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    make_wheel(folder, "small-engine", "1.2")
    return folder


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment that needs one small package."""
    needs(monkeypatch, "1.0")
    return EngineEnvironment(tmp_path / "environment")


def needs(monkeypatch, version):
    needed = (Needed("small-engine", version),)
    monkeypatch.setattr(engine_environment, "needed_packages", lambda: needed)


def run_through(installation, until=120.0):
    end = time.monotonic() + until
    while not installation.poll():
        assert time.monotonic() < end
        time.sleep(0.02)
    return installation.error


@pytest.fixture(scope="session")
def once_installed(tmp_path_factory):
    """One real installation, of which tests get copies: its check takes seconds."""
    folder = tmp_path_factory.mktemp("installed")
    make_wheel(folder / "wheels", "small-engine", "1.2")
    with pytest.MonkeyPatch.context() as patch:
        needs(patch, "1.0")
        environment = EngineEnvironment(folder / "environment")
        assert run_through(environment.begin_install(folder / "wheels")) is None
    return environment.folder


@pytest.fixture
def installed(environment, once_installed):
    shutil.copytree(once_installed, environment.folder)
    return environment


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_there_before_the_first_installation(environment):
    status = environment.status()
    assert (status.state, status.ready, environment.packages) == ("missing", False, ())


def test_wheels_of_a_folder_become_an_environment_that_was_checked(installed):
    status = installed.status(deep=True)
    assert (status.state, dict(status.packages)) == ("ready", {"small-engine": "1.2"})
    (packages,) = installed.packages
    assert (packages / "small_engine" / "__init__.py").is_file()
    assert not list(installed.folder.glob("new-*"))


def test_it_tells_its_stages_and_keeps_a_log(environment, wheels):
    installation = environment.begin_install(wheels)
    stages = []
    while not installation.poll():
        stages.append(installation.stage)
        time.sleep(0.02)
    assert list(dict.fromkeys(stages)) == ["install", "check"]
    assert any("small_engine" in line or "small-engine" in line for line in installation.lines)
    assert "small" in installation.log.read_text()


def test_a_failed_installation_leaves_the_one_in_use(installed, wheels, monkeypatch):
    before = installed.packages
    needs(monkeypatch, "9.0")
    error = run_through(installed.begin_install(wheels))
    assert isinstance(error, StoreError)
    assert error.code == "cannot-install"
    assert "small-engine" in str(error)
    assert installed.packages == before
    assert not list(installed.folder.glob("new-*"))


def test_packages_that_do_not_run_are_not_put_into_use(installed, tmp_path):
    """A wheel that breaks onnxruntime in the environment is found by running a network."""
    before = installed.packages
    broken = tmp_path / "broken"
    fake = [("onnxruntime/__init__.py", "raise ImportError('no libgomp')\n")]
    make_wheel(broken, "small-engine", "1.3", fake)
    error = run_through(installed.begin_install(broken))
    assert isinstance(error, BackendUnavailable)
    assert "onnxruntime" in str(error)
    assert installed.packages == before


def test_cancelling_stops_pip_and_leaves_nothing(environment, tmp_path):
    make_wheel(tmp_path / "wheels", "small-engine", "1.2")
    installation = environment.begin_install(tmp_path / "wheels")
    pid = installation._command._process.pid
    installation.cancel()
    assert isinstance(installation.error, Cancelled)
    assert installation.poll()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert environment.status().state == "missing"
    assert not list(environment.folder.glob("new-*"))


def test_two_installations_at_once_do_not_mix(environment, wheels):
    first = environment.begin_install(wheels)
    with pytest.raises(StoreError) as refused:
        EngineEnvironment(environment.folder).begin_install(wheels)
    assert (refused.value.code, refused.value.exit_code) == ("busy", 75)
    assert run_through(first) is None


def test_what_a_killed_installation_left_is_swept_away(environment, wheels):
    left = environment.folder / "new-0123456789ab" / "packages"
    left.mkdir(parents=True)
    assert environment.status().state == "missing"
    assert run_through(environment.begin_install(wheels)) is None
    assert not left.exists()


def test_a_lost_file_is_found_and_repaired(installed, wheels):
    (packages,) = installed.packages
    (packages / "small_engine" / "__init__.py").write_text("")
    assert installed.status(deep=True).state == "damaged"
    assert "small-engine" in installed.status(deep=True).detail
    assert run_through(installed.begin_install(wheels)) is None
    assert installed.status(deep=True).state == "ready"
    assert not packages.exists()


def test_a_lost_package_is_found_without_looking_deep(installed):
    (packages,) = installed.packages
    next(packages.glob("*.dist-info")).rename(packages / "gone")
    assert installed.status().state == "damaged"


def test_another_python_and_newer_needs_are_told_apart(installed, monkeypatch):
    needs(monkeypatch, "2.0")
    assert installed.status().state == "outdated"
    monkeypatch.setattr(engine_environment, "python_tag", lambda: "CPython 3.99 somewhere")
    assert installed.status().state == "other-python"


def test_a_pointer_to_somewhere_else_is_not_followed(installed):
    (installed.folder / "current.json").write_text(json.dumps({"folder": "../../etc"}))
    assert installed.status().state == "missing"


def test_an_empty_folder_of_wheels_is_refused_at_once(environment, tmp_path):
    with pytest.raises(StoreError) as refused:
        environment.begin_install(tmp_path)
    assert refused.value.code == "no-wheels"


def test_a_python_that_is_not_there_is_one_clear_error(tmp_path, wheels):
    environment = EngineEnvironment(tmp_path / "environment", python=str(tmp_path / "python"))
    with pytest.raises(StoreError) as refused:
        environment.begin_install(wheels)
    assert refused.value.code == "no-python"
    with pytest.raises(StoreError) as again:  # and not: busy
        environment.begin_install(wheels)
    assert again.value.code == "no-python"


def test_removing_takes_everything_away(installed):
    installed.remove()
    assert not installed.folder.exists()
    assert installed.status().state == "missing"
    installed.remove()


def test_nothing_of_somebody_elses_is_ever_deleted(installed, wheels):
    own = [installed.folder / name for name in ("new-photos", "environment-of-mine")]
    for folder in own:
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
    assert run_through(installed.begin_install(wheels)) is None
    installed.remove()
    assert names(installed.folder) == ["environment-of-mine", "new-photos"]
    assert all((folder / "thesis.txt").is_file() for folder in own)


def test_nothing_is_removed_while_something_is_being_installed(installed, wheels):
    installation = installed.begin_install(wheels)
    with pytest.raises(StoreError, match="another installation is running"):
        installed.remove()
    installation.cancel()
    assert installed.status().ready


def test_a_log_that_is_gone_ends_the_installation_in_one_line(environment, wheels):
    installation = environment.begin_install(wheels)
    installation.log.unlink()
    error = run_through(installation)
    assert isinstance(error, StoreError)
    assert error.code == "cannot-write"
    assert names(environment.folder) == ["installing.lock"]
    assert run_through(environment.begin_install(wheels)) is None  # the lock was let go


def test_what_cannot_be_named_the_current_one_is_not_left_behind(environment, wheels, monkeypatch):
    def full(path, data):
        if path.name == "current.json":
            raise StoreError("cannot-write", "No space left on device", exit_code=73)
        write_bytes(path, data)

    monkeypatch.setattr(installation_module, "write_bytes", full)
    assert run_through(environment.begin_install(wheels)).code == "cannot-write"
    assert names(environment.folder) == ["installation.log", "installing.lock"]


def test_a_log_that_cannot_be_written_is_not_blamed_on_python(environment, wheels):
    environment.folder.mkdir()
    (environment.folder / "installation.log").mkdir()
    with pytest.raises(StoreError, match="cannot-write"):
        environment.begin_install(wheels)


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script as program")
def test_an_environment_for_slicers_python_is_made_and_judged_for_that_python(
    environment, wheels, tmp_path, capsys
):
    (tmp_path / "sitecustomize.py").write_text(
        "import platform\nplatform.python_version_tuple = lambda: ('3', '99', '1')\n"
    )
    other = tmp_path / "PythonSlicer"
    other.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    folder = ["--folder", str(environment.folder)]
    install = ["environment", "install", *folder, "--wheels", str(wheels), "--python", str(other)]
    assert main(install) == 0
    capsys.readouterr()
    assert main(["environment", "status", *folder]) == 78
    assert "other-python: installed for Python CPython 3.99" in capsys.readouterr().out
    assert main(["environment", "status", *folder, "--python", str(other)]) == 0
    assert main(["environment", "status", *folder, "--python", str(tmp_path / "none")]) == 74
    assert "error[no-python]" in capsys.readouterr().err


def test_versions_are_compared_as_numbers():
    need = Needed("Small_Engine", "1.10")
    assert need.met_by({"small-engine": "1.10.0"})
    assert need.met_by({"small-engine": "1.10rc1"})
    assert not need.met_by({"small-engine": "1.9"})
    assert not need.met_by({})


def test_the_list_is_the_one_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [str(need) for need in needed_packages()]
    assert sorted(listed) == sorted([*extras["optional-dependencies"]["run"], "numpy>=1.26"])


def test_the_command_says_what_is_missing_and_how_to_get_it(tmp_path):
    command = [sys.executable, "-m", "MedDetectLib", "environment", "status", "--json"]
    told = subprocess.run(
        [*command, "--folder", str(tmp_path / "none")], capture_output=True, text=True, cwd=ROOT
    )
    assert told.returncode == 78
    assert json.loads(told.stdout)["state"] == "missing"
