"""Scores with an exported SavedModel: texts or tf.Examples in, labels, classes and scores out.

Whoever asks a SavedModel in its own process does it here, so that each gets the same float32 scores
and the same one-line errors. Importing this imports no TensorFlow; loading a model does.
"""
