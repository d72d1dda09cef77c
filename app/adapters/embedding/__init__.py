"""Where the photos of a bulk load are embedded: processes of this machine, or a Ray cluster."""
