"""The field's metrics, exact: ranking, overlap, answers; on arrays, and one image at a time."""
