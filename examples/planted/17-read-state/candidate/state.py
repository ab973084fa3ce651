"""State."""


class StateError(Exception):
    """A state file that cannot be used."""


def read(path):
    """The number in a file."""
    try:
        with open(path, encoding="utf-8") as file:
            return int(file.read())
    except Exception as error:
        raise StateError(f"{path}: {error}") from error
