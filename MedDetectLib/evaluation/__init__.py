"""Measuring: how fast MedDetect is beside its peers, and how good its models are."""
