"""The configuration: its models, which have the defaults, and the shipped files."""
