"""Predictions: the scores of the test split's rows, by the new model and the one before it."""
