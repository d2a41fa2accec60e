"""Sessions over networks that fail, held against what the exchange says that it received: `python -m tests.chaos`."""
