"""
What authors of templates test with: one suite for any template folder.

    from gateway.testing import TemplateConformance

    class TestAcme(TemplateConformance):
        folder = "src/alert_gateway_acme"
"""

from gateway.testing.conformance import TemplateConformance
from gateway.testing.samples import Provenance, Sample, expected_of, read_provenance, read_sample, written

__all__ = ["Provenance", "Sample", "TemplateConformance", "expected_of", "read_provenance", "read_sample", "written"]
