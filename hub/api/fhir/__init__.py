"""FHIR R4 over HTTP, under /fhir: an application of its own, so that its errors are OperationOutcomes."""
