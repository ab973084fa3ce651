"""Weeks."""
