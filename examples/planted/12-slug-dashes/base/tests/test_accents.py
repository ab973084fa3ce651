import unittest

from slug import slug


class Accents(unittest.TestCase):
    def test_accents_are_taken_off(self):
        self.assertEqual(slug("Crème brûlée"), "creme-brulee")
