"""The web page, and the way in."""

import base64
import hashlib
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from retrieval.access import brought, kept_token, same
from retrieval.server.headers import POLICY
from retrieval.server.settings import Served, Settings

DAYS = 90
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 20vh auto; padding: 0 1rem;
  color-scheme: light dark; }
input, button { font: inherit; padding: .5rem .75rem; box-sizing: border-box; width: 100%; margin: .25rem 0; }
"""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Picture search</title>
<style>{style}</style>
<main>
<h1>Picture search</h1>
<p{alert}>{said}</p>
<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open</button>
</form>
</main>
</html>
"""
ASKED = "This library wants its token. Whoever started the server has seen it."
WRONG = "That is not the token of this server."
DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
router = APIRouter(include_in_schema=False)


def cookie_name(token: str | None) -> str:
    """A name of this server's own: browsers tell servers on one machine apart by nothing else."""
    return "search_" + hashlib.sha256(f"name of {token}".encode()).hexdigest()[:12]


def _login(said: str = ASKED, *, wrong: bool = False) -> Response:
    text = PAGE.format(style=STYLE, said=said, alert=' role="alert"' if wrong else "")
    policy = POLICY.replace("style-src 'self'", f"style-src 'sha256-{DIGEST}'")
    headers = {
        "Content-Security-Policy": policy,
        "WWW-Authenticate": "Bearer",
        # Without any referrer a browser sends the form with the Origin "null", which is nobody's.
        "Referrer-Policy": "same-origin",
    }
    return Response(text, 401, headers, "text/html")


def _entered(request: Request, served: Settings) -> Response:
    """The page without the token in its address, and a cookie in its place."""
    answer = RedirectResponse("/", 303)
    if served.token is not None:
        answer.set_cookie(
            cookie_name(served.token),
            kept_token(served.token),
            max_age=DAYS * 24 * 3600,
            httponly=True,
            samesite="strict",
            # As a proxy says; whoever makes that up keeps the cookie from nobody but themselves.
            secure="https" in (request.url.scheme, request.headers.get("x-forwarded-proto")),
        )
    return answer


@router.get("/")
async def index(served: Served, request: Request) -> Response:
    """The page itself, for those who may see it."""
    given = request.query_params.get("token")
    if given is not None:
        right = served.token is None or same(given.encode("utf-8", "replace"), served.token)
        return _entered(request, served) if right else _login(WRONG, wrong=True)
    if served.token is not None and not brought(request.scope, served.token, cookie_name(served.token)):
        return _login()
    text = (files("retrieval.server") / "static" / "index.html").read_text("utf-8")
    if served.readonly or served.catalog.readonly:
        # Known before anything is drawn, so that nothing is offered that would be refused.
        text = text.replace("<html ", "<html data-readonly ", 1)
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-cache"})


@router.post("/login")
async def login(
    served: Served, request: Request, token: Annotated[str, Form(max_length=1000)] = ""
) -> Response:
    """Take the token from the form."""
    if served.token is not None and not same(token.strip().encode("utf-8", "replace"), served.token):
        return _login(WRONG, wrong=True)
    return _entered(request, served)
