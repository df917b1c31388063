"""The engines a network can run on, one per file."""
