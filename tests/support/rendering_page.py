"""A page with the chat's styles and renderer, but no server, to see how texts are drawn."""

from pathlib import Path

from playwright.sync_api import Page, Route

ROOT = Path(__file__).parents[2]
SITE = "http://rendering.test"
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_STYLES = ("tokens", "base", "layout", "transcript", "prose")
# As strict as the real one (chatsite/settings.py).
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'"
_HTML = """<!doctype html>
<html lang="en"><head>{styles}</head>
<body class="chat" data-addresses="http://rendering.test">
<script type="application/json" id="js-messages">{{}}</script>
<div class="main"><main class="scroller"><chat-transcript class="column">
<article class="message answer is-active is-writing"><div class="{kind} prose">{prose}</div></article>
</chat-transcript></main></div></body></html>"""


def open_page(page: Page, prose: str | None = None) -> None:
    """Open a page with an answer that is being written, or with the final HTML of one."""

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(SITE)
        if name != "/":
            route.fulfill(path=ROOT / name[1:], content_type=_TYPES[Path(name).suffix])
            return
        styles = "".join(f'<link rel="stylesheet" href="/static/chat/{each}.css">' for each in _STYLES)
        body = _HTML.format(styles=styles, kind="streaming" if prose is None else "", prose=prose or "")
        route.fulfill(body=body, content_type="text/html", headers={"Content-Security-Policy": _POLICY})

    page.unroute(f"{SITE}/**")
    page.route(f"{SITE}/**", serve)
    page.goto(SITE + "/")
