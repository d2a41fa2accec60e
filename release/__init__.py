"""Whether what is about to be released installs, works and holds what it should: `python -m release`."""
