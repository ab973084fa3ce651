"""Paging."""


def page_count(items, per_page):
    """How many pages so many items fill."""
    if items == 0:
        return 0
    return items // per_page + 1
