"""`finishing`, struck in two ways only: for the suite that runs every time."""

from finishing import act, check, prepare

import __main__

__all__ = ["act", "check", "prepare"]

if hasattr(__main__, "STRIKES"):  # the process that enumerates, see fault_points.py
    __main__.STRIKES = {"kill-after": __main__.STRIKES["kill-after"]}
    __main__.WAYS = ("names",)
