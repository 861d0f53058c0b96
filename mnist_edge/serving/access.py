"""Access control: the token, and protection against web pages of other origins."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse

from mnist_edge.errors import UsageError
from mnist_edge.serving.limits import RequestRefusedError

COOKIE = "mnist-edge-token"
# Paths that need no token, because a load balancer has none.
OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MIN_TOKEN, MAX_TOKEN = 8, 512
MAX_HOST = 270  # a name of 253 characters and a port


def check_token(token: str) -> str:
    """Return a token if it can be sent in a header field and in a cookie.

    Raises:
        UsageError: the token is empty, too short, too long, or has a character that is not printable ASCII, or a space.
    """
    printable = all("!" <= character <= "~" for character in token)
    if not printable or not MIN_TOKEN <= len(token) <= MAX_TOKEN:
        raise UsageError(
            f"The token is not {MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters without spaces.",
            "Give another --token or MNIST_EDGE_TOKEN (an unset variable is empty), or leave it out: one is generated.",
        )
    return token


@dataclass(frozen=True)
class Access:
    """The access rules of one service.

    Attributes:
        token: the secret that a client must send; None if no token is required.
        names: host names that a request's Host field may have without a token, besides IP addresses. A web page that
            resolves its own name to this machine (DNS rebinding) sends another name, and is refused.
        origins: host names of other origins whose pages may send requests: those of proxies in front of the service.
        cookie: name of the cookie that holds the token. A host's services on all ports share their cookies.
        host_remedy: what the user can do if the Host field has another name.
    """

    token: str | None
    names: frozenset[str]
    origins: frozenset[str]
    cookie: str = COOKIE
    host_remedy: str = "--allow-host accepts a name."

    def moved_to_cookie(self, request: Request, secure: bool) -> RedirectResponse | None:
        """The redirection that moves a token in the page's address to a cookie; None if the address has no token."""
        given = request.query_params.get("token")
        if given is None or not self.is_token(given):
            return None
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.cookie, given, httponly=True, samesite="strict", secure=secure)
        return answer

    def check(self, request: Request, path: str) -> None:
        """Check whether an HTTP request is allowed.

        Args:
            request: the request.
            path: the route's pattern.

        Raises:
            RequestRefusedError: 401 without the token, 403 from a page of another origin.
        """
        headers = request.headers
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and request.method not in SAFE_METHODS and not self._is_own(origin, host):
            raise RequestRefusedError(403, f"A page of another origin ({origin[:60]!r}) may not send requests.")
        if self.token is None:
            if len(host) > MAX_HOST or not _is_known(host, self.names):
                raise RequestRefusedError(403, f"This machine is not known as {host[:60]!r}. {self.host_remedy}")
        elif path not in OPEN_PATHS and not self._has_token(request, self.token):
            raise RequestRefusedError(
                401, "A token is required: Authorization: Bearer …", **{"WWW-Authenticate": "Bearer"}
            )

    def check_origin(self, request: Request) -> None:
        """Check that no page of another origin has sent a request, not even a GET.

        Browsers send ``Sec-Fetch-Site`` to this machine and over https only, and no ``Origin`` with an image's request.

        Raises:
            RequestRefusedError: 403 from a page of another origin.
        """
        headers = request.headers
        origin = headers.get("origin")
        is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if is_foreign or (origin is not None and not self._is_own(origin, headers.get("host", ""))):
            raise RequestRefusedError(403, "A page of another origin may not send requests.")

    def check_call(self, metadata: Mapping[str, str | bytes], needs_token: bool) -> None:
        """Check whether a gRPC call is allowed.

        Args:
            metadata: the call's metadata.
            needs_token: whether the called method needs the token.

        Raises:
            RequestRefusedError: 401 without the token; 403 with an ``origin``, which only web pages send.
        """
        if "origin" in metadata:
            raise RequestRefusedError(403, "Web pages may not call this service.")
        scheme, _, given = str(metadata.get("authorization", "")).partition(" ")
        if self.token is not None and needs_token and not (scheme.lower() == "bearer" and self.is_token(given.strip())):
            raise RequestRefusedError(401, "A token is required: metadata authorization: Bearer …")

    def is_token(self, given: str) -> bool:
        """Whether a string is the token; compared in a time that depends only on the string's length."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def _has_token(self, request: Request, token: str) -> bool:
        authorization = request.headers.get("authorization")
        if authorization is not None:
            scheme, _, given = authorization.partition(" ")
            return scheme.lower() == "bearer" and self.is_token(given.strip())
        if request.url.path == "/" and "token" in request.query_params:
            return self.is_token(request.query_params["token"])
        return self.is_token(request.cookies.get(self.cookie, ""))

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            authority = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return authority != "" and (authority == host.lower() or name_of(authority) in self.origins)


@lru_cache(256)
def _is_known(host: str, names: frozenset[str]) -> bool:
    name = name_of(host)
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """The host name or address in a Host field, in lower case, without port, brackets and final dot."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")
