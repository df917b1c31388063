"""Run `meddetect batch` inside Slicer, without a window.

Slicer --no-main-window --python-script MedDetect/Scripts/batch.py -- CASES --model NAME --out DIR

The arguments behind ``--`` are those of `meddetect batch`, and so are the exit codes. Slicer
lends its Python; the networks run in processes of their own, with MedDetect's environment.
There is never a dialog: what is missing is said in one line.
"""

import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve()
NOT_READY, OUR_BUG = 69, 70


def main(arguments):
    """Run the batch, and return its exit code."""
    for folder in (HERE.parents[1], HERE.parents[2]):  # as installed, and as in the sources
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    from MedDetectUI.engine import EnginePlace

    from MedDetectLib.adapters.cli.main import main as meddetect

    place = EnginePlace()
    if not place.ready:
        print(
            f"error[no-environment]: {place.status()}; install it in the MedDetect panel, or with"
            f" 'meddetect environment install --python {place.python}'",
            file=sys.stderr,
        )
        return NOT_READY
    given = [argument for argument in arguments if argument != "--"]
    packages = [word for folder in place.packages for word in ("--packages", str(folder))]
    try:
        # scenes need slicer-core, which a process outside Slicer has not got
        return meddetect(["batch", *given, "--no-scene", "--python", place.python, *packages])
    except SystemExit as wrong_usage:
        return wrong_usage.code


def exit_code(arguments):
    """Run `main` and return its code whatever happens: a script that raises leaves Slicer open."""
    try:
        return main(arguments)
    except Exception:
        traceback.print_exc()
        return OUR_BUG


if __name__ == "__main__":
    import slicer

    slicer.util.exit(exit_code(sys.argv[1:]))
