"""`python -m bitget_transports.cli` runs `bitget-cancel`."""

from . import main

if __name__ == "__main__":
    raise SystemExit(main())
