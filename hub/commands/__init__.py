"""The commands of `hub`: thin shells around what the modules do."""
