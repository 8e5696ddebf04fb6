"""Progress on standard error, for a person at a terminal; nothing where none is watching."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of `total` steps; the function that it gives advances it, from any thread."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _steps: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


class PhaseBar:
    """A bar for a run of several phases; one line a phase where nobody is watching."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1, note="")
        if console.is_terminal:
            self._bar.start()

    def phase(self, what: str, total: float) -> None:
        """Begin a phase."""
        if self._console.is_terminal:
            self._bar.reset(self._task, description=what, total=round(total), note="")
        else:
            self._console.print(what, highlight=False)

    def at(self, done: float, note: str = "") -> None:
        """Tell how far the phase is."""
        self._bar.update(self._task, completed=int(done), note=note)

    def stop(self) -> None:
        """Clear the bar away."""
        if self._console.is_terminal:
            self._bar.stop()
