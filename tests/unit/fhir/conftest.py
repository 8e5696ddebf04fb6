"""The second validator, started once."""

import pytest

from tests import fhir_check


@pytest.fixture(scope="session")
def second_validator():
    if fhir_check.missing():
        pytest.skip(fhir_check.missing())
    validator = fhir_check.SecondValidator()
    yield validator
    validator.close()
