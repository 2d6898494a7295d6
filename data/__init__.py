"""Clips on disk: index, sampling, transforms, datasets, and the commands that make and check trees."""
