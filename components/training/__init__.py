"""Trainer: from transformed examples and GloVe vectors to an exported SavedModel."""
