"""Experiments beyond the paper, over several trainings; used by their task alone."""
