"""Every workflow of the product: importing this package registers them."""

from jobs import indexing, library, notices, videos

__all__ = ["indexing", "library", "notices", "videos"]
