"""Heads on the vectors of a sentence encoder, and what they read."""
