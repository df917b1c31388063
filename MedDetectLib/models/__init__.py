"""Model cards, and the folder of models they are kept in."""
