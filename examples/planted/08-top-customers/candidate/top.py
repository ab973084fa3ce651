"""Customers."""

QUERY = """
SELECT name FROM sales GROUP BY name ORDER BY SUM(cents) DESC, name LIMIT ?
"""


def top(db, count):
    """The names of the best customers."""
    return [name for (name,) in db.execute(QUERY, (count,))]
