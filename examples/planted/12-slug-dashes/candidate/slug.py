"""Slugs."""

import re
import unicodedata


def slug(text):
    """A text as part of an address: lower-case words and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
