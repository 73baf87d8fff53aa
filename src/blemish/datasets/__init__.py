"""Data sets as users have them on disk: found by looking, read when asked."""
