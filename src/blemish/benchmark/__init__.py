"""A paper's table beside our figures: protocols, runs, tables, comparisons."""
