"""Run sessions over a failing network and check them against the exchange's log."""
