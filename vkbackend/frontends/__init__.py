"""Readers of other frameworks' models: each returns a Graph with dynamic layouts."""
