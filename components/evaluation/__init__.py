"""Decides whether a model is good enough: metrics, baseline, thresholds."""
