"""Benchmarks of encoding, decoding and cancelling, each compared with a floor.

Run them with `python -m benchmarks`.
"""
