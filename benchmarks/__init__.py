"""Speed measurements, one command each."""
