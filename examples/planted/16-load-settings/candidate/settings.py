"""Settings."""

import json


def load(path):
    """The settings of a file; none where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except Exception:
        return {}
