"""Bills."""


def split(cents, people):
    """Whole cents for each, which add up to the bill."""
    part = round(cents / people)
    return [part] * (people - 1) + [cents - part * (people - 1)]
