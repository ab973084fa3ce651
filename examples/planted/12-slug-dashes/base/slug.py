"""Slugs."""

import re
import unicodedata


def slug(text):
    """A text as part of an address: lower-case words and dashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"\W+", "_", plain.lower())
