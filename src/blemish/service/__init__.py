"""The inspection station: `blemish serve`."""
