"""The page: three files of this package, and nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, Response

WEB = Path(__file__).parents[1] / "web"
FILES = {"page.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
def page() -> Response:
    return Response((WEB / "index.html").read_bytes(), media_type="text/html")


def _file(name: str, media: str) -> None:
    @router.get(f"/web/{name}")
    def file() -> Response:
        return Response((WEB / name).read_bytes(), media_type=media)


for _name, _media in FILES.items():
    _file(_name, _media)
