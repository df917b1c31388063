"""`python -m MedDetectLib` is the same as `meddetect`."""

from MedDetectLib.adapters.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
