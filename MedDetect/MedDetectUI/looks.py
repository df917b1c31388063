"""Colours and texts of states; every colour comes with a sign and a word.

The colours are told apart by people who see no red or no green (Okabe and Ito).
"""

import qt
from slicer.i18n import tr as _

GREEN, ORANGE, BLUE, PURPLE, GREY, RED = (
    "#00775a", "#a35200", "#00629b", "#8c4a75", "#666666", "#b3261e",
)  # fmt: skip
ON_DARK = {
    GREEN: "#3fc79a", ORANGE: "#f0a04b", BLUE: "#62b5ee", PURPLE: "#d79bc2", GREY: "#a6a6a6",
    RED: "#ff8a80",
}  # fmt: skip
"""The same colours where the window is dark."""
STATES = {
    "new": ("○", _("open"), GREY),
    "accepted": ("✓", _("accepted"), GREEN),
    "rejected": ("✕", _("rejected"), RED),
    "edited": ("✎", _("edited"), BLUE),
    "added": ("＋", _("added"), PURPLE),
}
"""Sign, word and colour; translated once: a table of findings asks for them a thousand times."""
LONGEST = 140
"""Characters of what went wrong that a line shows; the tooltip has all of it."""


def stateLook(state):
    """Return (sign, word, colour) of a finding's state."""
    return STATES[state]


def readable(colour, widget):
    """Return a colour of these as it can be read on a widget's ground, light or dark."""
    isDark = widget.palette.color(qt.QPalette.Base).lightness() < 128
    return ON_DARK.get(colour, colour) if isDark else colour


def show(label, text, kind="plain", details=""):
    """Put one line of news into a label: what, how good, and details as tooltip.

    Args:
        label: a QLabel.
        text: the line.
        kind: ``good``, ``warning``, ``bad``, ``busy`` or ``plain``.
        details: shown when the pointer rests on it.
    """
    sign, colour = {
        "good": ("✓ ", GREEN),
        "warning": ("▲ ", ORANGE),
        "bad": ("✕ ", RED),
        "busy": ("● ", BLUE),
        "plain": ("", ""),
    }[kind]
    label.text = sign + text
    label.styleSheet = f"color: {readable(colour, label)};" if colour else ""
    label.toolTip = details


def showError(label, error):
    """Put an error into a label: one line, the rest as tooltip."""
    what = getattr(error, "what", "") or str(error) or type(error).__name__
    line = what[:1].upper() + what[1:]
    if len(line) > LONGEST:
        line = line[:LONGEST] + "…"
    todo = getattr(error, "todo", "")
    if todo:
        line = f"{line}; {todo}"
    show(label, line, "bad", _("Details: {text}").format(text=str(error)))


def sizeText(byteCount):
    """Return bytes as a person reads them."""
    if byteCount >= 1 << 30:
        return f"{byteCount / (1 << 30):.1f} GB"
    return f"{max(1, round(byteCount / (1 << 20)))} MB"


def secondsText(seconds):
    """Return a time left as a person reads it."""
    whole = max(0, round(seconds))
    if whole < 60:
        return _("{n} s").format(n=whole)
    return _("{m} min {s:02d} s").format(m=whole // 60, s=whole % 60)
