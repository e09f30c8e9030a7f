"""Files from web servers: over TLS, from public addresses only, and no larger than a pod can hold."""

import asyncio
import base64
import io
import os
import re
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from stagecoach.contract import progress
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import credentials

SCHEME = "https"
# With its rows it has to fit into the 2 GiB of a pod that reads.
MAX_BYTES = 256 << 20
MAX_REDIRECTS = 5
TIMEOUT = aiohttp.ClientTimeout(total=3600, sock_connect=20, sock_read=60)
REDIRECTS = (301, 302, 303, 307, 308)
DENIED = (401, 403, 407)
# Addresses of version 6 that stand for one of version 4, which need not be public.
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("2002::/16"))
# Addresses that count as global and are not: the IETF's own, and that of Azure's services for each machine.
_NOT_PUBLIC = (ip_network("192.0.0.0/24"), ip_network("168.63.129.16/32"))
# A name with a dot in it whose last part begins with a letter, as all that the internet knows: an address, in whatever
# form, would not be resolved, and so not judged.
_NAME = re.compile(r"[^:]*[^:.][.][a-z][^:.]*[.]?")
BYPASSED = " directly: what lies behind a proxy cannot be checked, so none is used; a bucket is reached through it"
_PUT_ELSEWHERE = "Copy the file to a claim or a bucket: a pod must not be made to read what only the cluster can reach."


def read(url: str, keys: Mapping[str, str], secret: str = "") -> bytes:
    """Return the file at a URL, asked for with the content of its Secret. Raises BadInput and StorageFailed."""
    try:
        return asyncio.run(_read(URL(url), keys, secret))
    except aiohttp.ClientConnectorCertificateError as error:
        remedy = "Use a server whose certificate an authority has signed that pods trust: see caBundle of the chart."
        _refuse("CertificateRefused", f"the server's certificate is not accepted: {error}", url, remedy)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        message = f"the server does not answer, or not to the end: {type(error).__name__}: {error}"
        remedy = f"See that the server is up, and that pods may reach it{'' if not _behind_proxy() else BYPASSED}."
        raise StorageFailed(Problem.of("EndpointUnreachable", message, value=url, remedy=remedy)) from error
    except ValueError as error:
        # What no pattern counts: a port above 65535, or a part of a name that is too long for DNS.
        _refuse("SourceRefused", f"it can be no address of a file: {error}.", url, "Correct the URI.")


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, and none of a cluster, a machine, a cloud's own services."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if ip.teredo or ip.is_site_local or any(ip in network for network in _TRANSLATED):
            return False
    elif any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses one that leads anywhere but to public addresses.

    What it returns is what is connected to: a name cannot lead elsewhere a moment later. A proxy would resolve the name
    itself, where nobody here sees to what, so these files are never asked for through one.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        """Return the addresses of a host. Raises BadInput."""
        found: list[Any] = await self._resolver.resolve(host, port, family)
        for each in found:
            if not is_public(each["host"]):
                message = f"{host} has the address {each['host']}, which is not one of the public internet."
                _refuse("AddressRefused", message, host, _PUT_ELSEWHERE)
        return found

    async def close(self) -> None:
        """Nothing is held."""


async def _read(url: URL, keys: Mapping[str, str], secret: str) -> bytes:
    connector = aiohttp.TCPConnector(resolver=PublicResolver())
    async with aiohttp.ClientSession(
        connector=connector, timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        place = url
        for _ in range(MAX_REDIRECTS + 1):
            _check(place)
            # What was given for one place is no other's business, even on the same server.
            own = place == url
            headers = _authorization(keys) if own else {}
            async with session.get(place, headers=headers, allow_redirects=False) as answer:
                if answer.status in DENIED:
                    remedy = credentials.opening(keys, secret, "read the file") if own else _elsewhere(place, secret)
                    _refuse("AccessDenied", f"the server answers {answer.status}.", str(url), remedy)
                if answer.status not in REDIRECTS:
                    return await _content(answer, url)
                place = _following(place, answer.headers.get("Location", ""))
    message = f"more than {MAX_REDIRECTS} redirects follow each other."
    raise BadInput(Problem.of("RedirectRefused", message, value=str(url), remedy="Correct the URI."))


def _following(place: URL, location: str) -> URL:
    try:
        return place.join(URL(location))
    except ValueError:
        _refuse("RedirectRefused", f"it leads to {location!r}.", str(place.host), "Correct the URI.")


def _check(place: URL) -> None:
    if place.scheme != SCHEME or not place.host or place.user or place.password:
        remedy = "Use a URI that leads to https and to nothing else."
        _refuse("RedirectRefused", f"it leads to {place.scheme}://{place.host}.", str(place.host), remedy)
    if not _NAME.fullmatch(str(place.raw_host)):
        _refuse("AddressRefused", f"{place.host} is not the full name of a server.", place.host, _PUT_ELSEWHERE)


async def _content(answer: aiohttp.ClientResponse, url: URL) -> bytes:
    _check_status(answer.status, str(url))
    content = io.BytesIO()  # which gives away what it holds without copying it
    async for part in answer.content.iter_chunked(1 << 20):
        content.write(part)
        progress.made()
        if content.tell() > MAX_BYTES:
            message = f"the file has more than {MAX_BYTES >> 20} MiB."
            _refuse("SourceTooLarge", message, str(url), "Copy it to a claim or a bucket.")
    return content.getvalue()


def _check_status(status: int, url: str) -> None:
    if status == 200:
        return
    message = f"the server answers {status}."
    if status in (404, 410):
        _refuse("SourceMissing", message, url, "Correct the URI, or put the file there.")
    if status in (408, 425, 429) or status >= 500:
        raise StorageFailed(Problem.of("ServerFailed", message, value=url, remedy="See the server's own log."))
    _refuse("SourceRefused", message, url, "Correct the URI.")


def _elsewhere(place: URL, secret: str) -> str:
    """Say why nothing was sent to where a URL leads."""
    kept = f", and what Secret {secret} holds is not sent along" if secret else ""
    return f"It leads to {place.host}{kept}: name the URI that it leads to, or copy the file to a claim or a bucket."


def _authorization(keys: Mapping[str, str]) -> dict[str, str]:
    if token := keys.get("token"):
        return {"Authorization": f"Bearer {token}"}
    if keys.get("username"):
        pair = f"{keys['username']}:{keys['password']}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _behind_proxy() -> bool:
    return bool(os.environ.get("HTTPS_PROXY"))


def _refuse(reason: str, message: str, url: str, remedy: str) -> NoReturn:
    raise BadInput(Problem.of(reason, message, value=url, remedy=remedy))
