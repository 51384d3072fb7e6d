"""TF Serving as this project starts it: to check a model before its push, and to serve it after."""

BINARY = "tensorflow_model_server"
# The release for TensorFlow 2.16, which writes the SavedModel; compose.yaml and kubernetes.yaml
# name the same.
IMAGE = "tensorflow/serving:2.16.1"
# By itself a server tries five times more to load a model, a minute apart, and does not listen
# before one is loaded.
NO_RETRIES = "--max_num_load_retries=0"
