"""Rows to look at: tables with thumbnails, sparklines and clouds from above, and contact sheets."""
