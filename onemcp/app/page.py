"""The status page of a gateway, and the links to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from onemcp.auth import Principal
from onemcp.control import ControlError, Endpoint
from onemcp.frontend import STATUS, Application
from onemcp.monitor import Observed
from onemcp.supervision import ChildSpec
from onemcp.web.status import CODE_SECONDS, History, StatusPage, Visits

from .access import Access
from .listener import origin_for_browsers


def open_page(
    application: Application,
    endpoint: Endpoint,
    gateway: Observed,
    history: History,
    access: Access,
) -> ChildSpec:
    """Let an application serve the status page, and operators ask for links to it.

    Args:
        application: Serves everything else.
        endpoint: What operators may ask for; is given what makes links.
        gateway: What is looked at.
        history: What has been.
        access: Who may log in.

    Returns:
        What keeps the history.
    """
    control, visits = endpoint.control, Visits()
    page = StatusPage(
        control,
        gateway,
        history=history,
        visits=visits,
        issuer_of=lambda headers: application.gate.resource(headers, "").origin,
        server=lambda: access.server if application.gate.own_issuer else None,
    )
    application.status = page.serve

    def link(principal: Principal) -> dict[str, Any]:
        if not page.is_open:
            raise ControlError(409, "no_page", "there is no status page: control.page is false")
        url = application.gate.public_url or control.gateway.url
        origin = origin_for_browsers(url) or f"http://localhost:{urlsplit(url).port}"
        code = visits.new_code(principal)
        path = f"{STATUS}/enter?code={code}"
        return {"url": f"{origin}{path}", "seconds": CODE_SECONDS}

    endpoint.link = link
    return ChildSpec(id="history", start=history.run)
