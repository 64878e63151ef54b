"""Cochran and Kim's two experiments, reproduced; used by its task alone."""
