"""The web page: static files, sent with headers that restrict what the browser may do."""

from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).parent / "web"
PAGE_HEADERS = {
    # Only the server's own files and answers: markup smuggled in through an n-gram could load nothing.
    "Content-Security-Policy": "default-src 'self'; style-src 'self'; script-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    # The page's address contains the user's id.
    "Referrer-Policy": "no-referrer",
    # Revalidated on every load (an ETag mostly saves the transfer): files of two versions do not work together.
    "Cache-Control": "no-cache",
}


class PageFiles(StaticFiles):
    """Serves the files of the page, `index.html` for a folder."""

    def __init__(self) -> None:
        """Serve the files that ship with the package."""
        super().__init__(directory=WEB, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Send a file with the page's headers."""
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response
