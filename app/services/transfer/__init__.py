"""Whole galleries on their way from one store to the other, and the proof that both answer alike."""
