"""Every workflow of the product: importing this package registers them."""

from jobs import describing, indexing, library, notices, renditions, renewing, videos

__all__ = ["describing", "indexing", "library", "notices", "renditions", "renewing", "videos"]
