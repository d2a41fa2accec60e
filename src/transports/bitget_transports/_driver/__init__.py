"""Code that all transports share."""
