import unittest

from roman import roman


class Roman(unittest.TestCase):
    def test_simple(self):
        self.assertEqual(roman(16), "XVI")

    def test_short_forms(self):
        self.assertEqual([roman(n) for n in (4, 9, 40, 90)], ["IV", "IX", "XL", "XC"])
