"""The networks of Ego-RNN, each part in a file named after it."""
