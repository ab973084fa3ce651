import sqlite3
import unittest

from totals import totals


class Totals(unittest.TestCase):
    def test_adds_items(self):
        db = sqlite3.connect(":memory:")
        db.executescript("""
            CREATE TABLE items (order_id INTEGER, cents INTEGER);
            CREATE TABLE payments (order_id INTEGER, cents INTEGER);
            INSERT INTO items VALUES (1, 500), (1, 250), (2, 900);
            INSERT INTO payments VALUES (1, 750), (2, 400);
        """)
        self.assertEqual(totals(db), [(1, 750, 750), (2, 900, 400)])
