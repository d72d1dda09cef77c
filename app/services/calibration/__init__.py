"""Thresholds from labelled photos: open-set searches, their error rates, and the threshold for a wanted rate."""
