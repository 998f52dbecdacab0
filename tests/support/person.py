"""A person with a browser without JavaScript: reads pages, fills in forms, follows redirects."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.forms.append({"action": found["action"], "fields": []})
        elif tag == "input" and self.forms:
            if found.get("type") == "checkbox" and "checked" not in found:
                return
            self.forms[-1]["fields"].append((found["name"], found.get("value") or ""))


def forms_of(page: str) -> list[dict[str, Any]]:
    """Return the forms of a page: where they go, and what is filled in."""
    parser = _Forms()
    parser.feed(page)
    return parser.forms


class Person:
    """Somebody with a browser; stops before leaving the site.

    Attributes:
        client: The browser.
        pages: What was shown.
    """

    def __init__(self, **options: Any) -> None:
        self.client = httpx.AsyncClient(follow_redirects=False, timeout=30, **options)
        self.pages: list[httpx.Response] = []

    async def visit(self, url: str) -> httpx.Response:
        """Open a page; follow redirects within the site."""
        return await self._follow(await self.client.get(url))

    async def submit(self, number: int = 0, **fields: str) -> httpx.Response:
        """Fill in a form of the last page, and send it."""
        page = self.pages[-1]
        form = forms_of(page.text)[number]
        filled = [(name, value) for name, value in form["fields"] if name not in fields]
        filled += list(fields.items())
        url = urljoin(str(page.url), form["action"])
        origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
        answer = await self.client.post(
            url,
            content=httpx.QueryParams(filled).__str__(),
            headers={"content-type": "application/x-www-form-urlencoded", "origin": origin},
        )
        return await self._follow(answer)

    async def log_in_and_allow(self, url: str, name: str, password: str) -> str:
        """Do what a person does with an authorization request; return where the browser ends."""
        page = await self.visit(url)
        if "password" in page.text:
            await self.submit(username=name, password=password)
        answer = await self.submit(decision="allow")
        return answer.headers["location"]

    async def _follow(self, answer: httpx.Response) -> httpx.Response:
        while answer.has_redirect_location:
            target = urljoin(str(answer.url), answer.headers["location"])
            if httpx.URL(target).netloc != answer.url.netloc:
                break
            answer = await self.client.get(target)
        self.pages.append(answer)
        return answer

    async def aclose(self) -> None:
        await self.client.aclose()
