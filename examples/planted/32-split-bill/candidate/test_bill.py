import unittest

from bill import split


class Bill(unittest.TestCase):
    def test_adds_up(self):
        self.assertEqual(sum(split(100, 3)), 100)
        self.assertEqual(split(90, 3), [30, 30, 30])
