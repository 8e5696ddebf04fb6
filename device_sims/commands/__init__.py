"""One module a command of `ward-sims`, and the options that they share."""
