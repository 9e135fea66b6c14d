"""phasecore for Keras 3. The adapter is not there yet: this version trains with torch only."""
