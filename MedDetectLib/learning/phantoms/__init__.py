"""Made-up patients with exact truth: chest CT and brain MR, drawn from formulas in RAS mm."""

from MedDetectLib.learning.phantoms.brain import brain_phantom
from MedDetectLib.learning.phantoms.chest import chest_phantom
from MedDetectLib.learning.phantoms.phantom import Lesion, Phantom

__all__ = ["Lesion", "Phantom", "brain_phantom", "chest_phantom"]
