"""Findings: the table, the score filter, and judging with buttons or keys."""

import qt
from slicer.i18n import tr as _

from MedDetectLib.review.acts import Accept, Reject, Relabel
from MedDetectUI.looks import STATES, readable, stateLook
from MedDetectUI.places import viewCentre

STATE, LABEL, SCORE, DIAMETER, VOLUME, PLACE = range(6)
NEW_BOX_MM = 12.0
FIRST_WIDTHS = (78, 92, 48, 52, 50)
"""Of all columns but the last, in pixels, before there are findings; then as wide as need be."""
REASONS = (
    _("not a lesion"),
    _("vessel"),
    _("normal anatomy"),
    _("scar or fibrosis"),
    _("artefact"),
    _("motion"),
    _("outside the organ"),
    _("found twice"),
)


class FindingsPart:
    """The Findings section.

    Args:
        ui: the widgets of MedDetect.ui.
        review: the `OpenReview`.
        panel: where parameters are kept and errors are shown.
    """

    def __init__(self, ui, review, panel):
        self.ui, self.review, self.panel = ui, review, panel
        self._order = (SCORE, True)
        self._ids = []
        self._row = {}
        self._before = None
        self._filling = False
        self._headings()
        ui.reasonSelector.addItems(list(REASONS))
        table = ui.findingsTable
        table.connect("itemSelectionChanged()", self._onSelection)
        table.horizontalHeader().connect("sectionClicked(int)", self.sortBy)
        ui.scoreSlider.connect("valueChanged(double)", self.filter)
        ui.acceptButton.connect("clicked(bool)", self.accept)
        ui.rejectButton.connect("clicked(bool)", self.reject)
        ui.nextButton.connect("clicked(bool)", self.next)
        ui.addBoxButton.connect("clicked(bool)", self.addBox)
        ui.labelSelector.connect("activated(int)", self._onLabel)
        review.listen(self.changed)

    # --- what keys and buttons do -----------------------------------------------------

    def accept(self, _checked=False):
        """Say that the finding in hand is right."""
        self._judge(Accept)

    def reject(self, _checked=False):
        """Say that the finding in hand is wrong, for the reason chosen below the table."""
        reason = self.ui.reasonSelector.currentText.strip() or REASONS[0]
        self._judge(lambda findingId: Reject(findingId, reason))

    def relabel(self, place):
        """Give the finding in hand the class at this place of the list, from 0."""
        labels = self.review.labels
        if 0 <= place < len(labels):
            self._judge(lambda findingId: Relabel(findingId, labels[place].value))

    def next(self, _checked=False):
        """Go to the next finding in the list that nobody has judged."""
        shown = self.shownIds()
        if not shown:
            return
        current = self.review.current
        start = shown.index(current) + 1 if current in shown else 0
        states = {item.id: item.state for item in self.review.items}
        for findingId in shown[start:] + shown[:start]:
            if states[findingId] == "new":
                self.choose(findingId)
                return
        self.panel.say(_("Every finding in the list has been judged."), "good")

    def addBox(self, _checked=False):
        """Add a finding at the place the slice views show, and take it in hand."""
        if not self.review.writable:
            return
        desk = self.review.desk
        value = self.review.labels[max(0, self.ui.labelSelector.currentIndex)].value
        made = []
        centre = viewCentre(desk.findings.geometry)
        if self.panel.attempt(lambda: made.append(desk.add_box_at(centre, value, NEW_BOX_MM))):
            self.choose(made[0])
            self.panel.correct.showBox(True)

    def chooseBefore(self):
        """Take in hand what was before, where undo took the finding in hand away."""
        if self.review.current is None and self._before in self._row:
            self.choose(self._before)

    def choose(self, findingId):
        """Take a finding in hand and show it; a full disk does not keep anybody from looking."""
        self.panel.attempt(lambda: self.review.choose(findingId))
        self._showCurrent()

    # --- the table --------------------------------------------------------------------

    def changed(self, change):
        """Hear from the review; `change` is None when all is new."""
        if change is None:
            self._before = None
        elif change.kind == "focus" and len(change.ids) == 2:
            self._before = change.ids[0]
        if change is not None and change.kind in ("shown", "trouble"):
            return
        if change is None or change.kind == "moved" or change.added or change.removed:
            self.fill()
            if change is None and self._ids:
                self._fitColumns()
        elif change.kind != "focus":
            items = {item.id: item for item in self.review.items}
            for findingId in change.ids:
                if findingId in items:
                    self._write(self._row[findingId], items[findingId])
        self._showCurrent()
        if change is None or change.kind != "focus":
            self.filter()

    def fill(self):
        """Write the whole table."""
        table = self.ui.findingsTable
        self._filling = True
        table.setUpdatesEnabled(False)
        column, descending = self._order
        items = sorted(self.review.items, key=_sortKey(column), reverse=descending)
        self._ids = [item.id for item in items]
        self._row = {findingId: row for row, findingId in enumerate(self._ids)}
        if table.rowCount != len(items):
            table.setRowCount(len(items))
        for row, item in enumerate(items):
            self._write(row, item)
        table.setUpdatesEnabled(True)
        self._filling = False
        self._fillLabels()

    def sortBy(self, column):
        """Sort by a column; the same again turns the order round."""
        before, descending = self._order
        self._order = (column, not descending if column == before else column >= SCORE)
        order = qt.Qt.DescendingOrder if self._order[1] else qt.Qt.AscendingOrder
        self.ui.findingsTable.horizontalHeader().setSortIndicator(column, order)
        self.fill()
        self._showCurrent()
        self.filter()

    def filter(self, _value=None):
        """Hide findings with a score below the slider, in the table and in the views."""
        least = self.ui.scoreSlider.value
        table = self.ui.findingsTable
        shown = 0
        hidden = {item.id for item in self.review.items if item.score < least - 1e-9}
        for row, findingId in enumerate(self._ids):
            table.setRowHidden(row, findingId in hidden)
            shown += findingId not in hidden
        self.review.showOnly(frozenset(self._ids) - hidden)
        self._count(shown)

    def shownIds(self):
        """Return the ids in the table from top to bottom, hidden ones left out."""
        least = self.ui.scoreSlider.value
        scores = {item.id: item.score for item in self.review.items}
        return [each for each in self._ids if scores.get(each, 0.0) >= least - 1e-9]

    def selectedIds(self):
        """Return the ids of the selected rows, from top to bottom."""
        return [self._ids[row] for row in sorted(self._selectedRows()) if row < len(self._ids)]

    def refresh(self):
        """Switch buttons on and off."""
        able = self.review.writable
        inHand = able and self.review.item is not None
        self.ui.acceptButton.enabled = inHand
        self.ui.rejectButton.enabled = inHand
        self.ui.labelSelector.enabled = inHand and len(self.review.labels) > 1
        self.ui.addBoxButton.enabled = able
        self.ui.nextButton.enabled = bool(self._ids)

    # --- inside -----------------------------------------------------------------------

    def _headings(self):
        table = self.ui.findingsTable
        table.setColumnCount(6)
        table.setHorizontalHeaderLabels(
            [_("State"), _("Class"), _("Score"), _("Ø mm"), _("mL"), _("Place (mm)")]
        )
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(24)
        header = table.horizontalHeader()
        header.setSectionsClickable(True)
        header.setHighlightSections(False)
        header.setSortIndicatorShown(True)
        header.setSortIndicator(SCORE, qt.Qt.DescendingOrder)
        header.setResizeContentsPrecision(0)  # the rows to be seen: a thousand take too long
        for column, width in enumerate(FIRST_WIDTHS):
            table.setColumnWidth(column, width)

    def _fitColumns(self):
        """Make columns as wide as what stands in them, and the first as what may come."""
        table = self.ui.findingsTable
        table.resizeColumnsToContents()
        words = [qt.QLabel(f"{sign} {word}") for sign, word, _colour in STATES.values()]
        widest = max(label.sizeHint.width() for label in words)
        table.setColumnWidth(STATE, max(table.columnWidth(STATE), widest + 12))

    def _write(self, row, item):
        sign, word, colour = stateLook(item.state)
        texts = (
            f"{sign} {word}",
            item.label_name,
            f"{item.score:.2f}",
            f"{item.diameter_mm:.1f}",
            f"{item.volume_ml:.2f}",
            item.place,
        )
        table = self.ui.findingsTable
        for column, text in enumerate(texts):
            cell = table.item(row, column)
            if cell is None:
                cell = qt.QTableWidgetItem(text)
                if SCORE <= column <= VOLUME:
                    cell.setTextAlignment(int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter))
                table.setItem(row, column, cell)
            else:
                cell.setText(text)
            if column == STATE:
                cell.setForeground(qt.QBrush(qt.QColor(readable(colour, table))))
                cell.setToolTip(f"{item.id}: {word}")
            elif column == LABEL:
                cell.setIcon(_patch(*item.colour_rgb))

    def _fillLabels(self):
        names = [label.name for label in self.review.labels]
        selector = self.ui.labelSelector
        if [selector.itemText(i) for i in range(selector.count)] != _numbered(names):
            selector.clear()
            selector.addItems(_numbered(names))

    def _showCurrent(self):
        """Select the row of the finding in hand, without choosing it once more."""
        row = self._row.get(self.review.current, -1)
        table = self.ui.findingsTable
        self._filling = True
        if row < 0:
            table.clearSelection()
        elif row not in self._selectedRows():
            table.setCurrentCell(row, STATE)
            table.selectRow(row)
        self._filling = False
        item = self.review.item
        if item is not None:
            values = [label.value for label in self.review.labels]
            self.ui.labelSelector.currentIndex = values.index(item.label)
        self.refresh()

    def _selectedRows(self):
        """Return the selected rows that the filter has left in the table."""
        table = self.ui.findingsTable
        rows = {index.row() for index in table.selectionModel().selectedRows()}
        return {row for row in rows if not table.isRowHidden(row)}

    def _onSelection(self):
        if self._filling:
            return
        row = self.ui.findingsTable.currentRow()
        if 0 <= row < len(self._ids) and self._ids[row] != self.review.current:
            self.choose(self._ids[row])
        self.panel.correct.refresh()

    def _onLabel(self, index):
        self.relabel(index)

    def _judge(self, act):
        findingId = self.review.current
        if findingId and self.review.writable:
            self.panel.attempt(lambda: self.review.do(act(findingId)))

    def _count(self, shown):
        states = [item.state for item in self.review.items]
        if not states:
            text = _("No findings.") if self.review.isOpen else _("No findings yet.")
        else:
            judged = len(states) - states.count("new")
            text = _("{shown} of {all} shown, {judged} judged, {open} open").format(
                shown=shown, all=len(states), judged=judged, open=states.count("new")
            )
        self.ui.findingsCount.text = text


def _numbered(names):
    """Return class names with the keys that set them."""
    return [f"{n}  {name}" if n < 10 else name for n, name in enumerate(names, start=1)]


def _sortKey(column):
    keys = {
        STATE: lambda item: ("new", "added", "edited", "accepted", "rejected").index(item.state),
        LABEL: lambda item: item.label,
        SCORE: lambda item: item.score,
        DIAMETER: lambda item: item.diameter_mm,
        VOLUME: lambda item: item.volume_ml,
        PLACE: lambda item: item.centre_ras_mm[2],
    }
    return lambda item: (keys[column](item), item.score, item.id)


_patches = {}


def _patch(red, green, blue):
    """Return a small square of one colour."""
    key = (red, green, blue)
    if key not in _patches:
        pixmap = qt.QPixmap(12, 12)
        pixmap.fill(qt.QColor(red, green, blue))
        _patches[key] = qt.QIcon(pixmap)
    return _patches[key]
