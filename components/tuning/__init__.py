"""Tuner: optional search for better settings."""
