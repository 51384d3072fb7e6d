"""One run from lock to exit code, and what a person sees of it while it goes."""
