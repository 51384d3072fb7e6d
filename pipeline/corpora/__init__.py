"""Provides the inputs of a run: the sample corpus and the GloVe vectors."""
