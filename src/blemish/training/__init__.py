"""Learning what a detector adds to its frozen models: losses, settings, and a loop that resumes."""
