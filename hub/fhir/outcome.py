"""OperationOutcome: what is wrong, where, and what was expected."""

from collections.abc import Iterable

from hub.fhir.resource import Resource
from hub.fhir.validate import Issue


def outcome(issues: Iterable[Issue]) -> Resource:
    """Render issues; without any it says that all is well."""
    told = [
        {
            "severity": issue.severity,
            "code": issue.code,
            "diagnostics": issue.diagnostics,
            **({"expression": [issue.expression]} if issue.expression else {}),
        }
        for issue in issues
    ]
    well = {"severity": "information", "code": "informational", "diagnostics": "no issues found"}
    return {"resourceType": "OperationOutcome", "issue": told or [well]}
