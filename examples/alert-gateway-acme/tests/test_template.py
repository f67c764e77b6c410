"""Every law of Alert Gateway's templates, held to this one."""

from gateway.testing import TemplateConformance


class TestAcme(TemplateConformance):
    folder = "src/alert_gateway_acme"
