"""What all transports share."""
