"""Loading the exported model as a server would, before it may be pushed."""
