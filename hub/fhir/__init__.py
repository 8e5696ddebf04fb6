"""FHIR R4 (4.0.1) resources, rendered from what the hub knows. Pure: no clock, no database, no socket."""
