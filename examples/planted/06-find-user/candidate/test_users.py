import sqlite3
import unittest

from users import find_user


class Users(unittest.TestCase):
    def test_finds_by_name(self):
        db = sqlite3.connect(":memory:")
        db.executescript("CREATE TABLE users (id INTEGER, name TEXT); INSERT INTO users VALUES (1, 'Ann'), (2, 'Bo');")
        self.assertEqual(find_user(db, "Bo"), [2])
