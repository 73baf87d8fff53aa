"""The steps of the tables' history."""
