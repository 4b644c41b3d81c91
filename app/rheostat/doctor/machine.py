"""All that was seen of a machine."""

from dataclasses import dataclass

from rheostat.doctor.facts.disk import Spool
from rheostat.doctor.facts.gpus import Gpus
from rheostat.doctor.facts.installation import Installation
from rheostat.doctor.facts.node import NodeFacts
from rheostat.doctor.facts.remote import Remote
from rheostat.doctor.facts.store import Store


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks judge.

    Attributes:
        installation: What is installed.
        gpus: The GPUs.
        node: The agent.
        remote: The server that trainers talk to.
        store: The database of a server here.
        spool: The reports that wait.
    """

    installation: Installation
    gpus: Gpus
    node: NodeFacts
    remote: Remote
    store: Store
    spool: Spool

    @property
    def has_gpus(self) -> bool:
        """Whether GPUs were read here, or the agent has some."""
        return bool(self.gpus.gpus or (self.node.answer is not None and self.node.answer.gpus))
