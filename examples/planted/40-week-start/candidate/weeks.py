"""Weeks."""

from datetime import timedelta


def monday(day):
    """The Monday of a day's week."""
    return day - timedelta(days=day.weekday())
