"""Drivers on frameworks that are heavy to install; `python -m heavy`, in `examples/`, plays the conformance kit with each."""
