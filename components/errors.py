"""The one exception type whose message is meant for the person who runs the pipeline."""


class UserError(ValueError):
    """A mistake the user can mend; its message is one line: what, where, what to do."""
