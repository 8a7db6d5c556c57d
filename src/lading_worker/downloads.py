"""Downloads of what a request refers to: bounded in size and time, and only from where a stranger may send this machine.

A request's URL is opened by the server, from inside its network: without a check, a client could read what only this machine can
reach (a cloud's metadata service, a neighbour's database). So addresses that are not public are refused, also after a redirect
and also when a public name leads to them; the address that was looked at is the one that is connected to. What the operator
allows, in ``LADING_DOWNLOAD_ALLOW``, and URLs of the author (defaults, weights) are exempt.
"""

import os
import re
from time import monotonic

_CHUNK = 1 << 20
_STALL = 10  # seconds without a byte, as in Cog
_LARGEST = 8 << 30
_LONGEST = 3600.0


class RefusedError(OSError):
    """An address that a request may not name."""


class Limits:
    """What downloads of requests are held to, from the variables of the environment.

    ``LADING_DOWNLOAD_ALLOW`` lists what is allowed beside public addresses, divided by commas: ``all``, an address, a network
    (``10.0.0.0/8``), a host's name (``minio.local``) or the names below one (``*.svc.cluster.local``).
    ``LADING_DOWNLOAD_MAX_BYTES`` (8 GiB) and ``LADING_DOWNLOAD_SECONDS`` (3600) limit each file.
    """

    def __init__(self, environ=None):
        variables = os.environ if environ is None else environ
        words = variables.get("LADING_DOWNLOAD_ALLOW", "").split(",")
        self.allowed = [word.strip().lower() for word in words if word.strip()]
        self.size = int(_number(variables.get("LADING_DOWNLOAD_MAX_BYTES"), _LARGEST))
        self.seconds = _number(variables.get("LADING_DOWNLOAD_SECONDS"), _LONGEST)

    def allows(self, host, address):
        """Whether a request may have ``host`` read, which is at ``address``."""
        if "all" in self.allowed or _is_public(address):
            return True
        host = host.lower().rstrip(".")
        return any(_covers(word, host, address) for word in self.allowed)


def _number(text, default):
    try:
        number = float(text) if text else default
    except ValueError:
        return default
    return number if number > 0 else default


def _is_public(text):
    from ipaddress import ip_address

    address = ip_address(text.partition("%")[0])
    for inner in _embedded(address):
        if not inner.is_global or inner.is_multicast:
            return False
    return address.is_global and not address.is_multicast


def _embedded(address):
    """IPv4 addresses inside an IPv6 one that routers or the kernel take out of it."""
    if address.version == 4:
        return
    from ipaddress import IPv4Address

    number = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if number >> 32 in (0x64FF9B << 64, 0):  # NAT64, and the old IPv4-compatible form
        yield IPv4Address(number & 0xFFFFFFFF)


def _covers(word, host, address):
    if word.startswith("*."):
        return host.endswith(word[1:])
    if word == host:
        return True
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(address.partition("%")[0]) in ip_network(word, strict=False)
    except (ValueError, TypeError):  # a name, or the other version of IP
        return False


def download(url, place, wanted=None, limits=None):
    """Write what a URL gives to a new file at ``place``, which is only there if all of it came and ``wanted()`` was true until then.

    ``limits`` None: the URL is the author's or the operator's, and not held to any.

    Raises:
        ValueError: with a sentence that names the URL without its credentials and its query.
    """
    try:
        with open_url(url, limits) as response, open(place, "wb") as file:
            _copy(response, file, wanted, limits)
    except Exception as error:
        if os.path.exists(place):
            os.unlink(place)
        reason = _reason(error)
        if hasattr(error, "close"):
            error.close()  # an HTTPError holds the connection
        raise ValueError(f"{shown(url)} cannot be downloaded: {reason}") from None


def _copy(response, file, wanted, limits):
    expected = response.headers.get("Content-Length")
    expected = int(expected) if expected and expected.isdigit() else None
    until = None if limits is None else monotonic() + limits.seconds
    copied = 0
    if limits is not None and expected is not None and expected > limits.size:
        raise OSError(_too_large(limits))
    for chunk in iter(lambda: response.read1(_CHUNK), b""):
        file.write(chunk)
        copied += len(chunk)
        if wanted is not None and not wanted():
            raise OSError("the prediction is over")
        if limits is not None and copied > limits.size:
            raise OSError(_too_large(limits))
        if until is not None and monotonic() > until:
            raise OSError(f"it took longer than {limits.seconds:g} seconds (LADING_DOWNLOAD_SECONDS)")
    if expected is not None and expected != copied:
        raise OSError(f"the connection ended after {copied} of {expected} bytes")


def _too_large(limits):
    return f"it is larger than {limits.size} bytes (LADING_DOWNLOAD_MAX_BYTES)"


def open_url(url, limits=None):
    """Open an ``http://`` or ``https://`` URL; credentials in it are sent to its own host alone. Redirects stay within the two.

    ``COG_USER_AGENT`` names the client, as in Cog. The answer is given as `urllib.request.urlopen` gives it. ``limits``: see `download`.
    """
    from urllib import request

    bare, authorization = _without_credentials(url)
    agent = os.environ.get("COG_USER_AGENT") or "lading"
    asked = request.Request(bare, headers={"User-Agent": agent})  # noqa: S310 - the opener below knows no other schemes
    if authorization:
        asked.add_unredirected_header("Authorization", authorization)
    opener = request.OpenerDirector()
    for name in ("Proxy", "Unknown", "HTTPDefaultError", "HTTPRedirect"):
        opener.add_handler(getattr(request, name + "Handler")())
    for name in ("HTTPHandler", "HTTPSHandler"):
        handler = getattr(request, name, None)  # a Python without ssl lacks one
        if handler is not None:
            opener.add_handler(_checked(handler, limits)())
    opener.add_handler(request.HTTPErrorProcessor())
    return opener.open(asked, timeout=_STALL)


def _checked(handler, limits):
    """A handler of urllib whose connections are made to addresses that ``limits`` allows. Each redirect comes through here, too."""

    class Checked(handler):
        def do_open(self, http_class, req, **options):
            if limits is None:
                return super().do_open(http_class, req, **options)
            proxied = req.has_proxy() or getattr(req, "_tunnel_host", None) is not None
            if proxied:
                # The proxy looks the name up, and it is the operator's: what can be seen from here is checked from here.
                _check_target(req.full_url, limits)

            def connect(*place, **how):
                connection = http_class(*place, **how)
                if not proxied:
                    connection._create_connection = lambda *where, **more: _connect(limits, *where, **more)  # noqa: SLF001
                return connection

            return super().do_open(connect, req, **options)

    return Checked


def _check_target(url, limits):
    import socket
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)
    except OSError:  # a name that only the proxy knows
        return
    for place in found:
        if not limits.allows(host, place[4][0]):
            raise RefusedError(_refusal(place[4][0]))


def _connect(limits, address, timeout=None, source_address=None, **_):
    """As `socket.create_connection`, to allowed addresses only."""
    import socket

    host, port = address
    error = None
    for family, kind, protocol, _name, place in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        if not limits.allows(host, place[0]):
            error = error or RefusedError(_refusal(place[0]))
            continue
        connection = socket.socket(family, kind, protocol)
        try:
            if isinstance(timeout, (int, float)):
                connection.settimeout(timeout)
            if source_address:
                connection.bind(source_address)
            connection.connect(place)
        except OSError as failure:
            connection.close()
            error = failure
        else:
            return connection
    raise error or OSError("the name has no address")


def _refusal(address):
    return f"{address} is no public address; allow it with LADING_DOWNLOAD_ALLOW"


def _without_credentials(url):
    from base64 import b64encode
    from urllib.parse import quote, unquote, urlsplit

    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    # What browsers mend, too: a space or a letter beyond ASCII in the path.
    path, query = (quote(part, safe="/:@!$&'()*+,;=-._~%?[]") for part in (parts.path, parts.query))
    bare = f"{parts.scheme}://{host}{path}" + ("?" + query if parts.query else "")
    if not at:
        return bare, None
    name, _, password = user.partition(":")
    return bare, "Basic " + b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode("ascii")


def _reason(error):
    """Why a download failed, without the URL, which ``http.client`` may quote with all that is in it."""
    code = getattr(error, "code", None)
    if code is not None:
        return f"the server answered {code} {getattr(error, 'reason', '') or ''}".rstrip()
    inner = getattr(error, "reason", error)
    if "timed out" in str(inner):
        return f"nothing came for {_STALL} seconds"
    if isinstance(inner, str):
        return inner
    if isinstance(inner, OSError):
        return inner.strerror or str(inner) or type(inner).__name__
    if isinstance(error, ValueError) or type(error).__name__ == "InvalidURL":
        return "it is not a valid URL"
    return str(error) or type(error).__name__


def shown(url):
    """A URL or text for a message: no credentials, no query (signed URLs carry their signature there), not too long."""
    text = re.sub(r"//[^/?#]*@", "//", url)
    text = re.sub(r"[?#].*", "?…", text, flags=re.DOTALL)
    text = text if len(text) <= 120 else text[:119] + "…"
    return '"' + text.encode("utf-8", "backslashreplace").decode("utf-8") + '"'
