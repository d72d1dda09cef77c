"""A video becomes identities: frames, faces, tracks, clusters, and what is known of each."""
