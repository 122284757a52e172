"""Sound and spoken words, without anything else of the product.

The aligner runs in a killable child that loads this folder by path (app/lib/child.py), so only relative imports.
"""
