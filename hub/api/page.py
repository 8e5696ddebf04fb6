"""The nurse station's page: files that `make page` built, served at `/`."""

import mimetypes
import os
from os import PathLike, stat_result
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

BUILT = Path(__file__).parent / "static"

PAGE_HEADERS = {
    # Everything from this hub alone; `style-src-attr` is for the widths and colours of bars.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " style-src-attr 'unsafe-inline'; font-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}
_KEPT = {**PAGE_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
_NOT_BUILT = """<!doctype html><html lang="en"><title>wardhub</title><h1>The nurse station is not built</h1>
<p>Run <code>make page</code> where the hub was installed from, then load this page again. The API works:
<a href="/api/v1/openapi.json">/api/v1/openapi.json</a>."""


class _Assets(StaticFiles):
    """Files whose names hold a hash of their content: browsers need not ask for them again."""

    def file_response(
        self,
        full_path: str | PathLike[str],
        stat_result: stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with a file, compressed where it was built so and the browser takes it."""
        packed = Path(f"{os.fspath(full_path)}.gz")
        if packed.is_file() and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            media_type, _ = mimetypes.guess_type(os.fspath(full_path))
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            response: Response = FileResponse(packed, headers=headers, media_type=media_type)
        else:
            response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_KEPT)
        return response


def install(api: FastAPI, built: Path = BUILT) -> None:
    """Serve the page; where it was not built, one that says so."""

    async def page() -> Response:
        index = built / "index.html"
        if index.is_file():
            return FileResponse(index, headers=PAGE_HEADERS)
        return Response(_NOT_BUILT, 200, PAGE_HEADERS, "text/html")

    async def icon() -> Response:
        return FileResponse(built / "icon.svg", headers=PAGE_HEADERS)

    api.add_api_route("/", page, include_in_schema=False)
    if (built / "assets").is_dir():
        api.add_api_route("/icon.svg", icon, include_in_schema=False)
        api.mount("/assets", _Assets(directory=built / "assets"), name="assets")
