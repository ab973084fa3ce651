"""Paging."""


def page(items, number, per_page):
    """The items of one page, counted from 1."""
    start = (number - 1) * per_page
    return items[start:start + per_page]
