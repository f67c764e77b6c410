"""
What is installed, once `loader` has found it: the templates, the notifiers, and the hooks, called one plugin at a time.

A plugin that is broken, or raises, is listed or named with its error and stops nothing else.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pluggy

from gateway import hookspecs
from gateway.config import Settings
from gateway.errors import (
    GatewayError,
    NotFoundError,
    PluginError,
    SlugTakenError,
    TemplateError,
    UnreadableError,
)
from gateway.hookspecs import hookimpl
from gateway.models import Channel, Event, Ignored, Integration
from gateway.template import Read, Request, TemplateFile, TemplateFolder, describe

if TYPE_CHECKING:
    from gateway.notifiers.base import Notifier, Outbound

_log = logging.getLogger("gateway.plugins")


class Card(msgspec.Struct, kw_only=True):
    """A template as the gallery shows it. `error` says why it cannot be used; name and channel are then guesses."""

    slug: str
    name: str
    channel: Channel
    distribution: str
    version: str
    folder: TemplateFolder
    error: str | None = None


class PluginInfo(msgspec.Struct, kw_only=True):
    """A plugin as `plugins list` shows it; `errors` are all that is wrong with it and its templates."""

    name: str
    origin: str
    distribution: str
    version: str
    templates: list[str] = []
    hooks: list[str] = []
    errors: list[str] = []

    @property
    def error(self) -> str | None:
        """All of them in one line; None where nothing is wrong."""
        return "; ".join(self.errors) or None


class Plugins:
    """All plugins of one process. Nothing is shared between two of these."""

    def __init__(self, settings: Settings, *, templates: bool = True) -> None:
        self._with_templates = templates
        self.manager = pluggy.PluginManager("gateway")
        self.manager.add_hookspecs(hookspecs)
        self.cards: dict[str, Card] = {}
        self.infos: list[PluginInfo] = []
        self._broken_cards: list[Card] = []
        self._readers: dict[str, object] = {}
        self._reads: dict[str, Read] = {}
        self._callers: dict[str, pluggy.HookCaller] = {}
        if settings.trace_plugins:
            self.manager.trace.root.setwriter(lambda text: _log.info("%s", text.rstrip()))
            self.manager.enable_tracing()

    def gallery(self) -> list[Card]:
        """Every card by slug, those with errors included."""
        return sorted([*self.cards.values(), *self._broken_cards], key=lambda card: (card.slug, card.error or ""))

    def template(self, slug: str) -> TemplateFolder:
        """The template of this slug; raises NotFoundError with the nearest slug, TemplateError where it is broken."""
        card = self.cards.get(slug)
        if card is None:
            for broken in self._broken_cards:
                if broken.slug == slug:
                    raise TemplateError(broken.error or "")
            from gateway.config import nearest

            msg = f"there is no template {slug!r}{nearest(slug, list(self.cards))}; `alert-gateway templates list` shows all"
            raise NotFoundError(msg)
        return card.folder

    def sender(self, slug: str) -> TemplateFile | None:
        """What a template says of its vendor's requests; None where it is not installed or broken."""
        card = self.cards.get(slug)
        return None if card is None else card.folder.file

    def notifiers(self, outbound: Outbound, *own: object) -> dict[str, Notifier]:
        """
        Notifiers by kind, of `own` plugins first; what a broken plugin raises is logged, and the others still work.

        Of two of the same kind the first is kept.
        """
        for plugin in own:
            self.manager.register(plugin)
        notifiers: dict[str, Notifier] = {}
        impls = self.manager.hook.register_notifiers.get_hookimpls()
        for impl in sorted(impls, key=lambda impl: impl.plugin not in own):
            try:
                for notifier in cast("Iterable[Notifier]", _called(impl, outbound=outbound)):
                    if notifiers.setdefault(notifier.kind, notifier) is not notifier:
                        _log.warning(
                            "the notifier %r of %s is not used: the kind is taken", notifier.kind, impl.plugin_name
                        )
            except Exception as error:  # noqa: BLE001
                _log.warning("notifiers of %s are not used: %s", impl.plugin_name, describe(error))
        return notifiers

    def read_of(self, slug: str) -> Read:
        """What reads a message with this template: the `read` hook, called for it alone, inside installed wrappers."""
        if slug not in self._reads:
            reader = _TemplateReader(self.template(slug))
            self.manager.register(reader, f"read:{slug}")
            self._readers[slug] = reader
            self._callers.clear()  # each leaves out the templates known when it was made
            self._reads[slug] = lambda request: self._caller(slug)(request=request)
        return self._reads[slug]

    def _caller(self, slug: str) -> pluggy.HookCaller:
        """Asked for at each call: a rulebook keeps its `read`, and templates that come later must be left out too."""
        caller = self._callers.get(slug)
        if caller is None:
            others = [reader for other, reader in self._readers.items() if other != slug]
            caller = self.manager.subset_hook_caller("read", remove_plugins=others)
            self._callers[slug] = caller
        return caller

    @property
    def has_event_hooks(self) -> bool:
        """Whether anyone wants to enrich or drop events."""
        return bool(self.manager.hook.enrich_event.get_hookimpls() or self.manager.hook.drop_event.get_hookimpls())

    def enriched(self, event: Event, integration: Integration) -> Event:
        """
        The event after every `enrich_event`, each seeing what the one before made of it.

        Raises PluginError that names the plugin where one raises or gives what is no event.
        """
        for impl in reversed(self.manager.hook.enrich_event.get_hookimpls()):
            better = _called(impl, event=event, integration=integration)
            if better is None:
                continue
            if not isinstance(better, Event):
                msg = f"enrich_event of {impl.plugin_name} gave a {type(better).__name__}, not an Event"
                raise PluginError(msg)
            event = better
        return event

    def dropped(self, event: Event, integration: Integration) -> str | None:
        """
        Who drops this event and why, `acme: nightly test`; None where nobody does.

        Raises PluginError that names the plugin where one raises or gives what is no reason: `False` drops nothing silently.
        """
        for impl in reversed(self.manager.hook.drop_event.get_hookimpls()):
            reason = _called(impl, event=event, integration=integration)
            if reason is None:
                continue
            if not isinstance(reason, str) or not reason.strip():
                msg = f"drop_event of {impl.plugin_name} gave {reason!r:.40}, neither a reason nor None"
                raise PluginError(msg)
            return f"{impl.plugin_name}: {reason.strip()[:500]}"
        return None

    def add(self, plugin: object, info: PluginInfo) -> None:
        """Register one plugin and take its templates; what goes wrong is kept in its info."""
        self.infos.append(info)
        name = f"{info.name} of {info.distribution}" if self.manager.has_plugin(info.name) else info.name
        try:
            self.manager.register(plugin, name)
            self.manager.check_pending()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is this plugin's alone
            info.errors.append(describe(error))
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            return
        callers = self.manager.get_hookcallers(plugin) or []
        info.hooks = sorted(caller.name for caller in callers)
        for caller in callers:
            if caller.name == "register_templates" and self._with_templates:
                impl = next(impl for impl in caller.get_hookimpls() if impl.plugin is plugin)
                try:
                    for folder in cast("Iterable[TemplateFolder]", impl.function()):
                        self._take(folder, info)
                except BaseException as error:  # noqa: BLE001
                    info.errors.append(describe(error))

    def fail(self, info: PluginInfo) -> None:
        """List a plugin that could not be loaded."""
        self.infos.append(info)
        _log.warning("plugin %s of %s is not loaded: %s", info.name, info.distribution, info.error)

    def reject(self, slug: str, error: str) -> None:
        """List a template that was taken as broken, with this error."""
        card = self.cards.pop(slug)
        card.error = error
        self._broken_cards.append(card)
        for info in self.infos:
            if info.distribution == card.distribution and slug in info.templates:
                info.errors.append(error)

    def _take(self, folder: TemplateFolder, info: PluginInfo) -> None:
        card = Card(
            slug=folder.slug,
            name=folder.slug,
            channel="API",
            distribution=info.distribution,
            version=info.version,
            folder=folder,
        )
        info.templates.append(folder.slug)
        try:
            taken = self.cards.get(folder.slug)
            if taken is not None:
                msg = f"the slug {folder.slug!r} is taken: {taken.distribution} and {info.distribution} both bring it"
                raise SlugTakenError(msg)
            card.name = folder.file.name
            card.channel = folder.file.channel
        except GatewayError as error:
            card.error = str(error)
            info.errors.append(card.error)
            self._broken_cards.append(card)
        else:
            self.cards[folder.slug] = card


class _TemplateReader:
    """A template as a plugin: its `read` is a hook implementation like any other."""

    def __init__(self, folder: TemplateFolder) -> None:
        self._folder = folder

    @hookimpl
    def read(self, request: Request) -> Iterable[Event | Ignored] | None:
        read = self._folder.load_read()
        if read is not None:
            found: object = read(request)
            if found is not None and not isinstance(found, Iterable):
                if inspect.iscoroutine(found):
                    found.close()
                msg = f"the template's read() gave a {type(found).__name__}, not a list of Event or Ignored"
                raise UnreadableError(msg)
            # A generator is run here, so that wrappers see what it raises; the bound keeps an endless one from filling memory.
            return found if found is None or isinstance(found, list) else _head(found)
        assert request.table is not None  # noqa: S101  # the rulebook sets it
        return request.table(request)


def _head(found: Iterable[Event | Ignored]) -> list[Event | Ignored]:
    from itertools import islice

    from gateway.rulebook import MAX_EVENTS

    return list(islice(found, MAX_EVENTS + 1))


def _called(impl: pluggy.HookImpl, **known: object) -> Any:
    """What one implementation gives for the arguments that it names; raises PluginError that says whose it is."""
    try:
        return impl.function(**{name: known[name] for name in impl.argnames})
    except MemoryError:
        raise
    except BaseException as error:
        msg = f"a hook of the plugin {impl.plugin_name} raised {describe(error)}"
        raise PluginError(msg) from error
