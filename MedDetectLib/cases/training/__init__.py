"""Reviewed cases as the folders that training frameworks read."""
