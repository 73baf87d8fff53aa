"""Inspect pictures of parts and say what is wrong with them."""
