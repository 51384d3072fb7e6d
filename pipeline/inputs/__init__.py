"""Puts a run's inputs in place: the sample corpus and the GloVe vectors."""
