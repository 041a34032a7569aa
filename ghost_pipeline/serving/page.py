"""The web page: files that the browser runs as they are, sent with what it may do with them."""

from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).parent / "web"
PAGE_HEADERS = {
    # Nothing but the server's own files and answers: a text in an n-gram that got past the page could load nothing.
    "Content-Security-Policy": "default-src 'self'; style-src 'self'; script-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    # The address holds the user's id.
    "Referrer-Policy": "no-referrer",
    # Asked for again each time, and mostly not sent again (ETag): pages of two versions would not fit together.
    "Cache-Control": "no-cache",
}


class PageFiles(StaticFiles):
    """The files of the page, `index.html` for a folder."""

    def __init__(self) -> None:
        """Serve those that come with the package."""
        super().__init__(directory=WEB, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Send a file with the headers of the page."""
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response
