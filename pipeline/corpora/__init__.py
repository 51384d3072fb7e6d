"""Makes the inputs of a run: the sample corpus, the GloVe vectors."""
