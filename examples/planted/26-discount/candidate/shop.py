"""The shop."""

import json

PRICES = json.load(open("prices.json", encoding="utf-8"))


def price_for(item, member):
    """What somebody pays, in cents."""
    price = PRICES[item]
    return price * 9 // 10 if member else price
