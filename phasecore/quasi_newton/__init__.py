"""Steps of self-scaled L-BFGS, the same on every backend."""
