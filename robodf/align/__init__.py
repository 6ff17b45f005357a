"""Samples of several streams at the times of one clock: the kernel of `rd.align`, in NumPy and Polars.

keys.py    which rows belong to one recording
match.py   for each clock time the samples before and after it
ticks.py   the times of a clock that is a rate
blend.py   values in between two samples; quaternion.py: rotations in between two rotations
rows.py    the frames that come out
"""
