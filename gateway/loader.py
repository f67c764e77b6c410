"""
Finds plugins and loads them: built-in templates, pip packages and files in `plugins_dir`, all the same way.

Metadata is read without importing a plugin's code. Each plugin is loaded on its own: a broken one is listed with its error
and stops nothing else.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import gateway
from gateway.config import Settings
from gateway.errors import PluginError
from gateway.hookspecs import hookimpl
from gateway.permits import Permits
from gateway.plugins import PluginInfo, Plugins
from gateway.roster import normal
from gateway.template import TemplateFolder, describe, import_file

GROUP = "gateway.plugins"
IMPORT_DEADLINE = 5.0
"""How many seconds the import of a plugin may take."""
_log = logging.getLogger("gateway.loader")


def load_plugins(settings: Settings, *, code: bool = False, templates: bool = True) -> Plugins:
    """
    Everything installed; without `templates` only plugins that are more than template folders.

    Those are imported only where `code` is asked for.

    Never raises because of a plugin.
    """
    plugins = Plugins(settings, templates=templates)
    version = gateway.__version__
    plugins.add(
        _Templates(lambda: _folders(builtin_dir())),
        PluginInfo(name="built-in", origin="built-in", distribution="alert-gateway", version=version),
    )
    permits = Permits(settings)
    for entry in sorted(_entries(), key=lambda entry: entry.name):
        _load_entry(plugins, entry, permits, code=code)
    if settings.plugins_dir is not None:
        _load_dir(plugins, settings.plugins_dir, permits, code=code)
    return plugins


def builtin_dir() -> Path:
    """Where the built-in templates lie: in the wheel, or in a checkout."""
    here = Path(gateway.__file__).parent
    inside = here / "_plugins"
    return inside if inside.is_dir() else here.parent / "plugins"


def _entries() -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return importlib.metadata.entry_points(group=GROUP)
    except Exception:  # noqa: BLE001  # one package's broken metadata makes the whole list fail
        _log.warning("a package's entry points cannot be read; each package is looked at on its own")
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            name = normal(distribution.name)
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        except Exception as error:  # noqa: BLE001
            _log.warning("the entry points of a package are not read: %s", describe(error))
        else:
            found.setdefault(name, entries)  # the first on the path is the one that would be imported
    return [entry for entries in found.values() for entry in entries]


def _load_entry(plugins: Plugins, entry: importlib.metadata.EntryPoint, permits: Permits, *, code: bool) -> None:
    distribution = entry.dist.name if entry.dist else "unknown"
    version = entry.dist.version if entry.dist else "unknown"
    info = PluginInfo(name=entry.name, origin="installed", distribution=distribution, version=version)
    refusal = permits.refusal(distribution, entry.dist)
    if refusal is not None:
        info.errors.append(refusal)
        plugins.infos.append(info)
        return
    try:
        folder = _folder_of(entry)
    except Exception as error:  # noqa: BLE001  # a finder of a broken package may raise anything
        info.errors.append(describe(error))
        plugins.fail(info)
        return
    if folder is not None:
        template = TemplateFolder(folder, entry.name)
        plugins.add(_Templates(lambda: [template]), info)
    elif code:
        try:
            with _time_limit(IMPORT_DEADLINE, entry.name):
                plugin = entry.load()
                if isinstance(plugin, type):
                    plugin = plugin()
        except BaseException as error:  # noqa: BLE001  # also SystemExit at import
            info.errors.append(describe(error))
            plugins.fail(info)
            return
        plugins.add(_Templates(lambda: [plugin]) if isinstance(plugin, TemplateFolder) else plugin, info)
    else:
        plugins.infos.append(info)


def _folder_of(entry: importlib.metadata.EntryPoint) -> Path | None:
    """The folder of a package that is a template, found without importing it; None where it is something else."""
    top, _, rest = entry.module.partition(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        msg = f"No module named {top!r}"
        raise PluginError(msg)
    for place in spec.submodule_search_locations or ():
        folder = Path(place, *rest.split(".")) if rest else Path(place)
        if (folder / "template.toml").is_file():
            return folder
    return None


def _load_dir(plugins: Plugins, folder: Path, permits: Permits, *, code: bool) -> None:
    info = PluginInfo(name=str(folder), origin="plugins_dir", distribution=str(folder), version="")
    if not folder.is_dir():
        info.errors.append(f"GATEWAY_PLUGINS_DIR: {folder} is not a folder")
        plugins.fail(info)
        return
    if (folder / "template.toml").is_file() and not any(_folders(folder)):
        above = folder.resolve().parent
        info.errors.append(
            f"GATEWAY_PLUGINS_DIR: {folder} is a template folder itself; name the folder that it is in, {above}"
        )
        plugins.fail(info)
        return
    if permits.broken is not None:
        info.errors.append(permits.broken)
    plugins.add(_Templates(lambda: (one for one in _folders(folder) if not permits.switched_off(one.path.name))), info)
    for path in sorted(folder.glob("*.py")):
        one = PluginInfo(name=path.stem, origin="plugins_dir", distribution=str(path), version="")
        off = permits.switched_off(path.stem)
        if not code or off is not None:
            one.errors += [] if off is None else [off]
            plugins.infos.append(one)
            continue
        try:
            with _time_limit(IMPORT_DEADLINE, path.stem):
                plugin = import_file(path, "gateway_plugin_" + path.stem)
        except BaseException as error:  # noqa: BLE001
            one.errors.append(describe(error))
            plugins.fail(one)
        else:
            plugins.add(plugin, one)


def _folders(folder: Path) -> Iterator[TemplateFolder]:
    for path in sorted(folder.iterdir()):
        if (path / "template.toml").is_file():
            yield TemplateFolder(path)


@contextmanager
def _time_limit(seconds: float, name: str) -> Iterator[None]:
    """Interrupt what takes longer, where signals can (in the main thread); elsewhere let it take its time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(_signal: int, _frame: FrameType | None) -> None:
        msg = f"importing {name} took over {seconds:g} s"
        raise PluginError(msg)

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Templates:
    """A plugin that brings template folders and nothing else."""

    def __init__(self, folders: Callable[[], Iterable[TemplateFolder]]) -> None:
        self._folders = folders

    @hookimpl
    def register_templates(self) -> Iterable[TemplateFolder]:
        return self._folders()
