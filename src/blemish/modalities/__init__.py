"""Files that are no single picture: video, point clouds and time series, seen through views."""
