"""Motion segmentation as a self-supervised task."""
