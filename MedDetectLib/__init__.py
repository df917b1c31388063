"""MedDetect: find, correct, learn, prove, promote, on 3-D medical images."""

__version__ = "0.1.0"
