"""The keyboard of the panel: single keys while the panel or a slice view has the focus.

Shortcuts hang on the panel and on each slice view, with the context "this widget and its
children", so they sleep while the focus is anywhere else. A text field takes the keys it
can use before any shortcut is asked (Qt's ShortcutOverride), so typing is never disturbed.
"""

import qt
import slicer


class Keys:
    """Shortcuts that exist between `install` and `remove`.

    Args:
        acts: key as text (``"A"``, ``"Ctrl+Z"``) -> function without arguments.
    """

    def __init__(self, acts):
        self._acts = dict(acts)
        self._shortcuts = []

    @property
    def installed(self):
        """How many shortcuts there are now."""
        return len(self._shortcuts)

    def install(self, panel):
        """Make the keys work in the panel and in the slice views there are now."""
        self.remove()
        for place in [panel, *sliceWidgets()]:
            for key, act in self._acts.items():
                shortcut = qt.QShortcut(qt.QKeySequence(key), place)
                shortcut.context = qt.Qt.WidgetWithChildrenShortcut
                shortcut.autoRepeat = key in ("N", "Ctrl+Z", "Ctrl+Shift+Z")
                shortcut.connect("activated()", act)
                self._shortcuts.append(shortcut)

    def remove(self):
        """Take all keys away."""
        for shortcut in self._shortcuts:
            if shortcut:  # it is false once its slice view was deleted, and it with it
                shortcut.enabled = False
                shortcut.deleteLater()  # its parent keeps it till then: it may be at work now
        self._shortcuts = []


def sliceWidgets():
    """Return the slice views of the layout; none without a main window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return []
    widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
    return [widget for widget in widgets if widget is not None]
