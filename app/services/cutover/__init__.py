"""The cutover and the way back: what speaks against it, the setting that is changed, and the PKL made whole."""
