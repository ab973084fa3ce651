"""Users."""


def find_user(db, name):
    """The ids of users with exactly that name."""
    rows = db.execute(f"SELECT id FROM users WHERE name = '{name}' ORDER BY id")
    return [row[0] for row in rows]
