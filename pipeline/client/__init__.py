"""Asking a trained classifier: over the network, or from the pushed SavedModel itself."""
