"""Scorers by family."""
