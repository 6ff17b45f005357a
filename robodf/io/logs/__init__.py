"""Logs of any container as tables: what they hold, what a query needs of them, and their messages as columns."""
