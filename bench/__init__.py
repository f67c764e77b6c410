"""What claims of speed rest on: `python3 dev.py bench`, or `python3 -m bench` in the project's environment."""
