"""Plugins for Hydra, which finds them since the folder above has no `__init__.py`, this one has.

Hydra runs every module here at start-up, whatever is typed, save those whose names begin with
an underscore; so nothing here imports at its top what takes long.
"""
