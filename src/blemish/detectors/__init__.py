"""The detectors, one file each; shared parts in files that begin with an underscore."""
