"""Scores of the test split's rows by the candidate and the baseline model."""
