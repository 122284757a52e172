"""What search must reach: recall and times with 1,000, 10,000 and 100,000 chunks of one person, as many of others beside.

`python -m tests.bench search` takes about six minutes; `search.1000 search.10000` only those sizes.
"""


def main(*sizes: str) -> None:
    """Print the table, or only the sizes that are named."""
    from tests.bench.search.table import print_table  # late, as its imports take a second

    print_table([int(size) for size in sizes] or [1_000, 10_000, 100_000])
