"""Small helpers, one idea per file; they know nothing of the product."""
