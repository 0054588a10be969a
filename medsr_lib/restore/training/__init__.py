"""Training: loops that a clock ends and a checkpoint continues."""
