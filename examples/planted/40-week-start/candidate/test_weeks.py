import unittest
from datetime import date

from weeks import monday


class Weeks(unittest.TestCase):
    def test_mondays(self):
        self.assertEqual(monday(date(2026, 11, 16)), date(2026, 11, 16))
        self.assertEqual(monday(date(2026, 11, 22)), date(2026, 11, 16))
