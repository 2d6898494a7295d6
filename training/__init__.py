"""What is around a network: the one main of all trainings, the loop, batches, evaluation."""
