"""Launches a run, from lock to exit code, and shows its progress."""
