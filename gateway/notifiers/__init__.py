"""Ways to reach people, one module each. They are found through the hook `register_notifiers`."""
