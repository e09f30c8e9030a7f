"""How a story looks in a terminal."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from stagecoach_plugin.screen import fields
from stagecoach_plugin.stories import Link, Mood, Story
from stagecoach_plugin.texts import plain

_MARKS = {Mood.GOOD: ("✓", "green"), Mood.WAITS: ("…", "yellow"), Mood.BAD: ("✗", "red"), Mood.OTHER: ("–", "")}


def board(story: Story) -> RenderableType:
    """Return a story on one screen."""
    return Group(*_parts(story))


def _parts(story: Story) -> Iterator[RenderableType]:
    since = f", for {story.since}" if story.since else ""
    yield Text.assemble((plain(story.subject), "bold"), "  ", _state(story.mood, story.state), (since, "dim"))
    if story.says:
        yield _below(Text(plain(story.says)))
    yield _below(fields(story.facts))
    if story.todo:
        yield Text("\nNext", style="bold")
        # A command is copied whole: it is not broken.
        yield from (_below(Text(plain(each), style="cyan", no_wrap=True, overflow="ignore")) for each in story.todo)
    if story.chain:
        yield Text("\nRelated", style="bold")
        for link in story.chain:
            yield from _link(link)
    if story.notes:
        yield Text("\nNot seen", style="bold")
        yield from (_below(Text(plain(note), style="dim")) for note in story.notes)


def _link(link: Link) -> Iterator[RenderableType]:
    yield _below(Text.assemble(plain(link.subject), "  ", _state(link.mood, link.state)))
    if link.says:
        yield Padding(Text(plain(link.says), style="dim"), (0, 0, 0, 4))


def _state(mood: Mood, state: str) -> Text:
    mark, style = _MARKS[mood]
    return Text(f"{mark} {plain(state)}", style=style) if state else Text("")


def _below(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2))
