"""What a reader would see change, and what was invented or lost."""
