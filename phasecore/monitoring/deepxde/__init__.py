"""What the adapters to DeepXDE share, whatever its backend."""
