"""Checks of the release artifacts: the archives, each extra, the lowest versions.

`nox -s package` runs them.
"""
