"""Trainings that others drive: what all monitors share."""
