"""How a person shows the token once, so that their browser has a pass."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from blemish.service import passes
from blemish.service.api.shared import Here
from blemish.service.pages.render import render, texts
from blemish.service.settings import ServiceSettings

ADDRESS = "/sign-in"
router = APIRouter(include_in_schema=False)


def page(then: str, said: str = "") -> str:
    """The form as HTML; `then` is where to go from it, `said` what was wrong with the token."""
    return render("sign_in.html", place=None, then=_own(then), said=said)


@router.get(ADDRESS)
async def form() -> HTMLResponse:
    """The form."""
    return HTMLResponse(page("/"))


@router.post(ADDRESS)
async def sign_in(
    request: Request, here: Here, token: Annotated[str, Form()], then: Annotated[str, Form()] = ""
) -> Response:
    """A pass for the token."""
    secret = here.settings.token.get_secret_value()
    if not secret or not passes.same(token.strip(), secret):
        await asyncio.sleep(0.5)  # who guesses is to wait
        return HTMLResponse(page(then, texts()["sign_in"]["wrong"]), 401)
    answer = RedirectResponse(_own(then), 303)
    answer.set_cookie(
        passes.COOKIE,
        passes.issue(secret),
        max_age=passes.LIFETIME,
        httponly=True,
        samesite="strict",
        secure=_encrypted(request, here.settings),
    )
    return answer


@router.post("/sign-out")
async def sign_out() -> Response:
    """Forget the pass."""
    answer = RedirectResponse(ADDRESS, 303)
    answer.delete_cookie(passes.COOKIE)
    return answer


def _encrypted(request: Request, settings: ServiceSettings) -> bool:
    """Whether a browser reached the station so, if need be through a proxy in front of it."""
    public = settings.public
    proxied = public.scheme == "https" and request.url.hostname == public.hostname
    return proxied or request.url.scheme == "https"


def _own(then: str) -> str:
    r"""An address of this station; anything else becomes its first page.

    >>> _own("/lines"), _own("//evil.example"), _own("/\\evil.example"), _own("https://e.example")
    ('/lines', '/', '/', '/')
    """
    fine = then.startswith("/") and then[1:2] not in ("/", "\\") and then.isprintable()
    return then if fine and not then.startswith("/sign-") else "/"
