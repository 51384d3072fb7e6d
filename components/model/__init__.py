"""The classifier's architectures: pure Keras, no I/O."""
