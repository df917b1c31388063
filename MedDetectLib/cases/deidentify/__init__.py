"""Taking out of files who the patient is, with a proof of what was done."""
