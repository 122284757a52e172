"""Every workflow of the product: importing this package registers them."""

from jobs import describing, library, notices, renewing, videos

__all__ = ["describing", "library", "notices", "renewing", "videos"]
