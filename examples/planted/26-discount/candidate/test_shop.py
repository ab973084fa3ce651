import unittest

from shop import price_for


class Shop(unittest.TestCase):
    def test_members_pay_less(self):
        self.assertEqual(price_for("pen", True), 180)
        self.assertEqual(price_for("pen", False), 200)
