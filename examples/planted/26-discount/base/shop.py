"""The shop."""

import json

PRICES = json.load(open("prices.json", encoding="utf-8"))
