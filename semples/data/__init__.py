"""Data sets on disk: manifest, images, training batches, the file of CAMs."""
