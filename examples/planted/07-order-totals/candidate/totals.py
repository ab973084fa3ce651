"""Totals."""

from pathlib import Path

QUERY = Path(__file__).with_name("totals.sql").read_text()


def totals(db):
    """Order, sum of its items, sum of its payments."""
    return db.execute(QUERY).fetchall()
