"""What encoding, decoding and a cancel's full cycle cost, each beside its floor: `python -m benchmarks`."""
