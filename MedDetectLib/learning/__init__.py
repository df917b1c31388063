"""Networks, training, and phantoms with exact truth."""
