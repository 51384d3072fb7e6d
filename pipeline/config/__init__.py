"""The configuration: its models, which hold the defaults, and the shipped files."""
