"""Leaves when it is imported."""

raise SystemExit(5)
