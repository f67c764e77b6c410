"""Imports something that is nowhere installed."""

import no_such_module  # type: ignore[import-not-found]

read = no_such_module.read
