"""Drivers on large frameworks. `python -m heavy`, in `examples/`, runs the kit on each."""
