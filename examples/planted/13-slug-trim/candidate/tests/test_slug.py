import unittest

from slug import slug


class Words(unittest.TestCase):
    def test_words_are_joined(self):
        self.assertEqual(slug("Hello,  World"), "hello-world")

    def test_nothing_hangs_over(self):
        self.assertEqual(slug("  Hello! "), "hello")
