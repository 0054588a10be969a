"""What super-resolution did to an image: metrics, regions, statistics."""
