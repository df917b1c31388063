"""Which case of the store an image is: a case is known by its image, and never carried over."""

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import MedDetectError


class KnownCase:
    """The case of the store that the panel knows, and the image it is of.

    Args:
        panel: where parameters are kept; knows the image in hand.
    """

    def __init__(self, panel):
        self.panel = panel

    @property
    def id(self):
        """The case of the image in hand; empty when it is none yet."""
        return self.idOf(self.panel.case.volumeNode())

    def idOf(self, node):
        """Return the case an image is; empty when it is none yet."""
        parameters = self.panel.parameters
        if parameters is None or node is None or parameters.caseVolume is not node:
            return ""
        return parameters.caseId

    def know(self, node, caseId):
        """Keep that an image is a case; an empty id when it is none yet."""
        parameters = self.panel.parameters
        parameters.caseId = caseId
        parameters.caseVolume = node if caseId else None

    def inStore(self, caseId):
        """Return the record of a case; None where the store in use has no such case."""
        if not caseId:
            return None
        try:
            return CaseStore(self.panel.save.storeFolder()).case(caseId)
        except MedDetectError:
            return None

    def leaveFor(self, node):
        """Forget the case when another image is read: its patient and comment too."""
        parameters = self.panel.parameters
        if not parameters.caseId or parameters.caseVolume is node:
            return
        patient, comments = self._said(parameters.caseId)
        if parameters.patient.strip() == patient:
            parameters.patient = ""
        if parameters.comment.strip() in comments:
            parameters.comment = ""
        self.know(None, "")

    def _said(self, caseId):
        """Return patient and comments of a case; as typed where the store cannot be read."""
        parameters = self.panel.parameters
        try:
            store = CaseStore(self.panel.save.storeFolder())
            versions = store.versions(caseId)
            return store.case(caseId).patient, [version.comment for version in versions]
        except MedDetectError:
            return parameters.patient.strip(), [parameters.comment.strip()]
