"""Training steps of phasecore and of its peers, side by side: `python -m benchmarks.peers`, or `make bench`."""
