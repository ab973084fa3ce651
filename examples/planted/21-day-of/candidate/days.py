"""Days."""

from datetime import datetime


def day_of(timestamp):
    """The date of a moment."""
    return datetime.fromtimestamp(timestamp).strftime("%Y-%m-%d")
