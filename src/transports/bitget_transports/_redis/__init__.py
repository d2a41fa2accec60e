"""The store of `shared_budget`, on Redis or Valkey. It needs the extra `redis`."""
