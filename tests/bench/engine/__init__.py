"""What the durable engine must reach: one table, its parts in the modules of this folder."""


def main(*parts: str) -> None:
    """Print the table, or only the parts that are named."""
    from tests.bench.engine.table import print_table  # late: a worker process imports this package, too

    print_table(parts)
