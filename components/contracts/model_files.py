"""Where the Trainer leaves its report; other nodes read it without importing TensorFlow."""

# In the model run's folder, and beside the SavedModel, where TF Serving ignores it.
REPORT = "training.json"
EXTRA_ASSETS = "assets.extra"
# Beside the SavedModel: requests that TF Serving (which fixes this name) replays before it takes a
# model into service, and what the trained network answers to some texts.
WARMUP = "tf_serving_warmup_requests"
ANSWERS = "reference_answers.json"
