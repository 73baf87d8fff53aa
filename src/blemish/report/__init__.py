"""What a person sees: overlays and reports."""
