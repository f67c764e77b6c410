"""Where messages and state are kept: the contracts in `base`, one adapter a file."""
