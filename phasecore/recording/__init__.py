"""What is kept of a training, whoever drives it: history, run folder, configuration, phases so far, hooks."""
