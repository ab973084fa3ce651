"""Accounts."""


def _balance(db, account):
    row = db.execute("SELECT cents FROM accounts WHERE name = ?", (account,)).fetchone()
    if row is None:
        raise KeyError(account)
    return row[0]


def transfer(db, source, target, cents):
    """Moves money."""
    left = _balance(db, source) - cents
    if left < 0:
        raise ValueError("overdraft")
    with db:
        db.execute("UPDATE accounts SET cents = ? WHERE name = ?", (left, source))
    with db:
        there = _balance(db, target)
        db.execute("UPDATE accounts SET cents = ? WHERE name = ?", (there + cents, target))
