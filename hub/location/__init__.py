"""Which zone each beacon is in, decided from the sightings of gateways. Zones, not metres."""
