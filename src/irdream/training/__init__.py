"""Training: windows in batches, augmentation of log-mels, the epoch loop."""
