"""Every workflow of the product: importing this package registers them."""

from jobs import library, notices, videos

__all__ = ["library", "notices", "videos"]
