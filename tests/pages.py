"""Reads an HTML page as a browser's parser would, for tests of what is in it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page refers to, the names of its tags and attributes, and which tags are open at the end. Each tag must be
    closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "action", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
