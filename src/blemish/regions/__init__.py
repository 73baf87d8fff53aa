"""Where a region comes from."""
