import unittest

from days import day_of


class Days(unittest.TestCase):
    def test_the_first_day(self):
        self.assertEqual(day_of(0), "1970-01-01")
