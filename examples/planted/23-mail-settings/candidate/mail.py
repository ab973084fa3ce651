"""Mail."""

import os


def settings():
    """Where and as whom mail is sent."""
    return {
        "host": os.environ.get("MAIL_HOST", "localhost"),
        "user": os.environ.get("MAIL_USER", "app"),
        "password": os.environ.get("MAIL_PASSWORD", "Tr0ub4dor-prod-2025"),
    }
