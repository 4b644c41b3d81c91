"""The page of nodes."""

from fastapi import Response

from rheostat.dashboard.views.nodes import node_rows
from rheostat.dashboard.visit import Visit
from rheostat.service import review

MOST_NODES = 500


def nodes(visit: Visit) -> Response:
    """Show the nodes that trials ran on, as the latest trial of each shows them."""
    found = review.list_nodes(visit.service, limit=MOST_NODES)
    return visit.show("nodes.html", refresh_seconds=30, rows=node_rows(found, visit.service.now()))
