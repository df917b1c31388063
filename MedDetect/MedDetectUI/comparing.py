"""What a comparison of two versions says, in a line and in details."""

from slicer.i18n import tr as _


def ofTwoReaders(one, two):
    """Whether two versions are the work of two different people."""
    return "ai" not in (one.kind, two.kind) and one.author != two.author


def differenceLines(before, after, difference):
    """Return one line of what changed between two versions, and all of it.

    Args:
        before: the earlier VersionRecord.
        after: the later one.
        difference: a `Difference`.
    """
    head = _("{one} to {two}: ").format(one=before.number, two=after.number)
    if difference.is_empty:
        return head + _("nothing changed."), []
    head += _("{added} added, {removed} removed, {changed} changed.").format(
        added=len(difference.added),
        removed=len(difference.removed),
        changed=len(difference.changed),
    )
    lines = [_("{id} was added").format(id=each) for each in difference.added]
    lines += [_("{id} was removed").format(id=each) for each in difference.removed]
    return head, lines + [_changeLine(change) for change in difference.changed]


def _changeLine(change):
    said = [f"{name} {old} → {new}" for name, (old, new) in change.fields.items() if name != "box"]
    if change.voxels_added or change.voxels_removed:
        said.append(
            _("{more} voxels more, {fewer} fewer").format(
                more=change.voxels_added, fewer=change.voxels_removed
            )
        )
    elif "box" in change.fields:
        said.append(_("another box"))
    return f"{change.id}: " + ", ".join(said)


def agreementLines(agreement):
    """Return one line of how far two readings agree, and the figures behind it.

    Args:
        agreement: an `Agreement`.
    """
    both = len(agreement.matches)
    every = both + len(agreement.only_first) + len(agreement.only_second)
    line = _("{both} of {all} findings in common, Dice {dice:.2f}.").format(
        both=both, all=every, dice=agreement.dice
    )
    details = [
        _("F1 of findings {f1:.2f}, kappa of voxels {kappa:.2f}").format(
            f1=agreement.f1, kappa=agreement.kappa_voxels
        )
    ]
    if agreement.kappa_labels is not None:
        details.append(_("kappa of classes {kappa:.2f}").format(kappa=agreement.kappa_labels))
    for who, ids in ((_("first"), agreement.only_first), (_("second"), agreement.only_second)):
        if ids:
            details.append(_("only the {who}: {ids}").format(who=who, ids=", ".join(ids)))
    return line, details
