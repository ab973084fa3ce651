import unittest

from mail import settings


class Mail(unittest.TestCase):
    def test_defaults(self):
        self.assertEqual(settings()["host"], "localhost")
        self.assertTrue(settings()["password"])
