"""How good predictions are: accuracy, statistics, fusion, attention against masks."""
