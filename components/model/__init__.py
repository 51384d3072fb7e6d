"""The classifier's architectures: pure Keras, no input or output."""
