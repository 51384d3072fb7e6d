"""Wires the components into a TFX pipeline and launches it."""
