"""A stand-in for the Slicer application, over the real MRML of slicer-core.

    from Testing.harness import kit
    from Testing.harness.running import slicer_running

    with slicer_running() as harness:
        harness.load_module()                 # MedDetect/MedDetect.py, as Slicer loads it
        panel = harness.panel()               # entered; the same as slicer.modules.MedDetectWidget
        kit.click(panel.ui.runButton)

Tests take the fixture `slicer_harness` instead (Testing/module/conftest.py). See docs/harness.md.
"""

try:
    import PySide6.QtWidgets  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the stand-in for Slicer cannot start: {error}; it needs PySide6-Essentials, and on a bare"
        " Debian or Ubuntu: apt-get install libegl1 libgl1 libxkbcommon0 libfontconfig1"
        " libdbus-1-3 libglib2.0-0"
    ) from error
