"""Device definitions: which message is of which device, and what is in it."""
