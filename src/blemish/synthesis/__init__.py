"""Made-up parts and made-up defects."""
