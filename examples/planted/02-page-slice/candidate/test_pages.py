import unittest

from pages import page


class Pages(unittest.TestCase):
    def test_pages(self):
        self.assertEqual(page([1, 2, 3], 2, 2), [3])
        self.assertEqual(page([1, 2, 3, 4], 2, 2), [3, 4])
        self.assertEqual(page([1], 9, 2), [])
