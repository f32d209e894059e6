"""Lay several Results side by side: tables, charts, panels, one HTML page."""
