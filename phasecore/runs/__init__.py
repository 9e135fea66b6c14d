"""The run folder: configuration, history, figures and comparison."""
