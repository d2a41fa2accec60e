"""An alias of `attrs.frozen`."""

from attrs import frozen as record

__all__ = ["record"]
