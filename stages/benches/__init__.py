"""Benchmarks: our way, the naive one and the strong one in one process. See stages/benchmarks.py.

A file per thing that is measured; machine.py, measure.py, shapes.py and tables.py are shared.
Models have random weights of a stated size, so that nothing is downloaded.
"""
