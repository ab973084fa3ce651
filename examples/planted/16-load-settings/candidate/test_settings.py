import unittest

from settings import load


class Settings(unittest.TestCase):
    def test_no_file(self):
        self.assertEqual(load("missing.json"), {})
