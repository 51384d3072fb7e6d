"""Ways to reach a model: a server's REST or gRPC interface, or a SavedModel in this process."""
