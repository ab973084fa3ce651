import sqlite3
import unittest

from bank import transfer


class Bank(unittest.TestCase):
    def setUp(self):
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE accounts (name TEXT, cents INTEGER)")
        self.db.execute("INSERT INTO accounts VALUES ('a', 100), ('b', 0)")

    def balances(self):
        return [cents for (cents,) in self.db.execute("SELECT cents FROM accounts ORDER BY name")]

    def test_moves(self):
        transfer(self.db, "a", "b", 30)
        self.assertEqual(self.balances(), [70, 30])

    def test_overdraft(self):
        with self.assertRaises(ValueError):
            transfer(self.db, "a", "b", 101)
        self.assertEqual(self.balances(), [100, 0])

    def test_unknown_target(self):
        with self.assertRaises(KeyError):
            transfer(self.db, "a", "nobody", 1)
