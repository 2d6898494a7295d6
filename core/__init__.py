"""What all rooms stand on: configs, files, run directories, processes, tasks and stages as types."""
