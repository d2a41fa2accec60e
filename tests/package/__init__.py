"""Checks of what would be released: the archives, each extra, the lowest versions. `nox -s package` runs them."""
