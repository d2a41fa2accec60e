timeout ${T:-500} .venv/bin/python -m pytest -q -s --durations=5 tests/bitget_proto/test_small_worlds.py --tb=line "$@" 2>&1 | cut -c1-${C:-250}
