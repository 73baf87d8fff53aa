"""Language models that look at pictures: OpenAI-compatible endpoints, local ones, scripted ones."""
