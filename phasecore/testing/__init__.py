"""What adapter and plugin authors test with."""
