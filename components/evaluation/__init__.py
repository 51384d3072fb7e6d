"""What decides whether a model is good enough: metrics, baseline, thresholds in words."""
