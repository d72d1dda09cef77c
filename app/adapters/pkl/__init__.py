"""DeepFace's gallery files: read safely, compiled for all workers, changed by a journal, written anew."""
