"""What runs inside the media child: every line here may meet a hostile file.

Nothing of the product is imported (see app/lib/child.py); arguments and results are JSON.
"""
