"""Reference solutions: plain functions that solve the problems' equations accurately, and a cache for fields."""
