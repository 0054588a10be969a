"""From low to high resolution: degradations, interpolation, networks, training."""
