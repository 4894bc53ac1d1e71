"""Adapters: what trains them, on one process or several."""
