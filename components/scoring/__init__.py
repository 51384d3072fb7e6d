"""Scores texts or tf.Examples with an exported SavedModel in the same process.

Importing this does not import TensorFlow; loading a model does.
"""
