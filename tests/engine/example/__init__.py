"""A project of its own on the engine alone: `shop.py` is all of it, `test_example.py` runs it in a process of its own."""
