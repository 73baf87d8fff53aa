"""The station over HTTP: one short file for each kind of thing, and for OpenAI's clients."""
