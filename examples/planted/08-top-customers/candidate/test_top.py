import sqlite3
import unittest

from top import top


class Top(unittest.TestCase):
    def test_ties_go_by_name(self):
        db = sqlite3.connect(":memory:")
        db.executescript("CREATE TABLE sales (name TEXT, cents INTEGER); INSERT INTO sales VALUES ('b', 5), ('a', 5), ('c', 9);")
        self.assertEqual(top(db, 3), ["c", "a", "b"])
