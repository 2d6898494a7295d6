"""What the commands share: configs, the fit loop, run directories, metrics. Knows nothing of video."""
