"""Dreaming: gradient ascent on a signal until the recognizer hears a target in it."""
