"""The template of Acme Cold Rooms for Alert Gateway."""

from gateway import TemplateFolder

plugin = TemplateFolder(__file__)
