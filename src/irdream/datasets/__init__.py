"""Data sets: folders of sound with labels, rendered or recorded, and what is kept of them."""
