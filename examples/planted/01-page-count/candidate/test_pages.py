import unittest

from pages import page_count


class Pages(unittest.TestCase):
    def test_counts(self):
        self.assertEqual(page_count(11, 5), 3)
        self.assertEqual(page_count(1, 5), 1)
        self.assertEqual(page_count(0, 5), 0)
