"""Where the Trainer leaves its report; other nodes read it without importing TensorFlow."""

# In the model run's folder, and beside the SavedModel, where TF Serving ignores it.
REPORT = "training.json"
EXTRA_ASSETS = "assets.extra"
