"""What the studies compute from stored runs: measures of one run, statistics over runs, pictures."""
