"""Setting up the engine: the window, pip's words, stopping, and never a dialog where nobody is."""

from types import SimpleNamespace

import pytest
import slicer

from MedDetectLib.core.errors import Cancelled, StoreError
from Testing.harness import kit
from Testing.module.panel_world import add_volume, volume_of_balls


class Installing:
    """An installation that says what it is told to say."""

    def __init__(self, error=None):
        self.lines, self.stage, self.error, self._end = [], "install", None, error
        self.released = False

    def poll(self):
        if self.stage == "done":
            return True
        if self.released:
            self.stage, self.error = "done", self._end
        return self.stage == "done"

    def cancel(self):
        self.stage, self.error = "done", Cancelled("the installation was stopped")


class Environment:
    """An environment whose state a test sets."""

    def __init__(self, folder):
        self.folder, self.state, self.python, self.packages = folder, "missing", "python", ()
        self.asked, self.error = [], None

    def status(self, *, deep=False):
        ready = self.state == "ready"
        return SimpleNamespace(state=self.state, detail="2 packages", ready=ready, packages={})

    def begin_install(self, wheel_folder=None):
        self.asked.append(wheel_folder)
        if self.error is not None:
            raise self.error
        self.installation = Installing()
        return self.installation


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


@pytest.fixture
def window(world, environment):
    from MedDetectUI.environment_dialog import EnvironmentDialog

    told = []
    made = EnvironmentDialog(environment, slicer.util.mainWindow(), lambda: told.append(True))
    made.show()
    made.told = told
    yield made
    made.close()


def test_pips_words_are_shown_while_it_works_and_the_end_is_told(window, environment):
    assert window.installButton.text == "Install"
    kit.click(window.installButton)
    assert window.stateLabel.text == "● Installing…"
    assert window.progressBar.visible
    environment.installation.lines.append("Collecting numpy")
    kit.process(250)
    assert window.log.plainText == "Collecting numpy"
    environment.state, environment.installation.released = "ready", True
    kit.until(lambda: window.installation is None)
    assert window.told == [True]
    assert window.stateLabel.text == "✓ Ready."
    assert window.installButton.text == "Repair"
    assert not window.progressBar.visible


def test_an_installation_can_be_stopped(window, environment):
    kit.click(window.installButton)
    kit.click(window.stopButton)
    assert environment.installation.stage == "done"
    assert window.stateLabel.text == "✕ The installation was stopped"
    assert window.installButton.enabled
    assert window.told == []


def test_closing_the_window_stops_the_installation(window, environment):
    kit.click(window.installButton)
    kit.click(window.closeButton)
    assert environment.installation.stage == "done"
    assert not window.dialog.visible


def test_a_failure_takes_one_line(window, environment):
    kit.click(window.installButton)
    environment.installation._end = StoreError("cannot-install", "no network", todo="use wheels")
    environment.installation.released = True
    kit.until(lambda: window.installation is None)
    assert window.stateLabel.text == "✕ No network; use wheels"


def test_a_refusal_to_begin_takes_one_line(window, environment):
    environment.error = StoreError("busy", "another installation is running")
    kit.click(window.installButton)
    assert window.stateLabel.text == "✕ Another installation is running"


def test_a_folder_of_wheels_takes_the_place_of_the_network(window, environment):
    assert not window.wheelEdit.enabled
    kit.click(window.offlineCheck)
    kit.type_text(window.wheelEdit, "/wheels")
    kit.click(window.installButton)
    assert environment.asked == ["/wheels"]


@pytest.mark.parametrize("state", ["damaged", "outdated", "other-python"])
def test_what_is_there_and_not_right_is_named_and_can_be_repaired(world, environment, state):
    from MedDetectUI.environment_dialog import EnvironmentDialog

    environment.state = state
    window = EnvironmentDialog(environment)
    assert window.stateLabel.text.startswith("▲ ")
    assert window.installButton.text == "Repair"
    window.close()


def test_without_an_engine_the_panel_offers_to_set_it_up_and_will_not_run(
    world, environment, monkeypatch
):
    from MedDetectUI import engine

    monkeypatch.setattr(engine, "ENGINES", ("no_such_engine",))
    world.logic.engine = engine.EnginePlace(environment)
    world.panel.detect.needsEngine = True
    add_volume(volume_of_balls())
    world.panel.refreshRun()
    assert not world.ui.runButton.enabled
    assert world.ui.runButton.toolTip == "Set up the engine first."
    kit.click(world.ui.engineButton)
    dialog = world.panel.detect.dialog
    assert dialog.dialog.visible
    kit.click(dialog.installButton)
    environment.state, environment.installation.released = "ready", True
    kit.until(lambda: dialog.installation is None)
    assert not world.ui.engineButton.visible
    assert world.ui.runButton.enabled
    dialog.close()


@pytest.mark.parametrize("how", [{"main_window": False}, {"testing": True}])
def test_no_window_opens_where_nobody_could_answer_it(home, environment, how, monkeypatch):
    from Testing.harness.running import slicer_running

    with slicer_running(**how) as harness:
        harness.load_module()
        panel = slicer.util.getModuleWidget("MedDetect").panel
        from MedDetectUI import engine

        monkeypatch.setattr(engine, "ENGINES", ("no_such_engine",))
        panel.logic.engine = engine.EnginePlace(environment)
        panel.detect.setUpEngine()
        assert panel.detect.dialog is None
        assert panel.ui.detectState.text.startswith("▲ The engine is not set up")


def test_one_place_says_which_python_runs_the_worker(world, environment):
    import sys

    from MedDetectUI.engine import EnginePlace

    assert EnginePlace().python == sys.executable
    assert EnginePlace(environment, "PythonSlicer").python == "PythonSlicer"
