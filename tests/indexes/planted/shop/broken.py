from django.test import TestCase


class Broken(TestCase):
    def test_fails(self) -> None:
        raise AssertionError
