"""Timing engines side by side: `querydiff benchmark`."""
