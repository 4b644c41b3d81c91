"""Checks of the node's agent, and of the limits that it has set."""

from rheostat.doctor.finding import Finding, ok, problem, skipped, warning
from rheostat.doctor.machine import Machine
from rheostat.schemas.agent import NodeGpu

_WHY_AGENT = "Without it no energy is measured and no power limit is set; batch sizes are advised all the same."


def agent(machine: Machine) -> Finding:
    """Check that an agent of this version answers, and is ready."""
    node = machine.node
    if node.access is not None and not node.access.is_open:
        return _closed(machine)
    if node.answer is None:
        if node.access is not None:
            assert node.error is not None
            found = f"the agent does not answer: {node.error.message}"
            return problem("agent", found, _WHY_AGENT, "Start it again: sudo systemctl restart rheostat-agent")
        if machine.gpus.is_expected or node.is_named:
            found = f"no agent runs here: there is no socket {node.socket}"
            return problem("agent", found, _WHY_AGENT, _start(machine))
        return skipped("agent", "no agent runs here, and without an NVIDIA GPU none is needed")
    if node.answer.problems:
        found = f"the agent is not ready: {' '.join(node.answer.problems)}"
        needs_root = any("CAP_SYS_ADMIN" in text for text in node.answer.problems)
        remedy = "Mend that, then look again." if not needs_root else _start(machine)
        return problem("agent", found, "What it lacks is left out of every run on this node.", remedy)
    return _versions(machine) or _visible(machine)


def _start(machine: Machine) -> str:
    start = f"Run the agent as root: {machine.installation.root_command} agent. Or as a service: see docs/agent.md."
    if machine.installation.container and machine.node.answer is None:
        return f"Mount the node's {machine.node.socket.parent} into this container. If no agent runs there: {start}"
    return start


def _closed(machine: Machine) -> Finding:
    access = machine.node.access
    assert access is not None
    found = f"{access.user} may not use the agent's socket {machine.node.socket}"
    if not access.group:
        remedy = f"Open its folder: sudo chmod a+x {machine.node.socket.parent}"
    elif access.is_listed:
        remedy = f"Log in again: {access.user} is in the group {access.group}, but not since this login."
    else:
        remedy = f"Run: sudo usermod -aG {access.group} {access.user}. Then log in again."
    return problem("agent", found, f"Its group's members may. {_WHY_AGENT}", remedy)


def _versions(machine: Machine) -> Finding | None:
    assert machine.node.answer is not None
    theirs, ours = machine.node.answer.version, machine.installation.version
    if theirs is None or theirs == ours:
        return None
    return warning(
        "agent",
        f"the agent is Rheostat {theirs}, and this is {ours}",
        "They talk to each other as long as both know what is asked; what one does not know is refused.",
        "Upgrade the older one, then: sudo systemctl restart rheostat-agent",
    )


def _visible(machine: Machine) -> Finding:
    answer = machine.node.answer
    assert answer is not None
    count = f"{len(answer.gpus)} GPU{'' if len(answer.gpus) == 1 else 's'}"
    if answer.visible is None and len(answer.gpus) > 1:
        return warning(
            "agent",
            f"the agent is ready with {count}, and cannot tell which of them this process may use",
            "A run that names no GPU asks nvidia-smi, and without an answer leases none.",
            "Name the GPUs of a run by UUID in RHEOSTAT_GPUS.",
        )
    simulated = ", simulated" if any(gpu.simulated for gpu in answer.gpus) else ""
    forbidden = any(gpu.limits == "forbidden" for gpu in answer.gpus)
    fixed = "; the site file forbids it to change limits" if forbidden else ""
    return ok("agent", f"the agent is ready: {count}{simulated}{fixed}")


def leases(machine: Machine) -> Finding:
    """Check that no GPU is left with a limit that is neither its own nor a run's."""
    node = machine.node
    if node.ledger_problems:
        found = " ".join(node.ledger_problems)
        return problem("leases", found, "The ledger says which limits to restore.", "Look at that file as root.")
    if node.to_restore:
        entry = node.to_restore[0]
        return problem(
            "leases",
            f"{entry.uuid} still has the limit of an agent that ended; it had {entry.found_milliwatts / 1000:g} W",
            "Whatever runs on that GPU is slower than it should be.",
            f"Restore it: {machine.installation.root_command} agent recover. Or start the agent.",
        )
    if node.answer is None:
        return skipped("leases", "no agent answers, and none has left a limit behind")
    return _troubled(node.answer.gpus) or ok("leases", _holders(node.answer.gpus))


def _troubled(gpus: list[NodeGpu]) -> Finding | None:
    for gpu in gpus:
        why = gpu.problem or "The driver says no more."
        if gpu.state in {"restore_failed", "suspended"}:
            found = f"GPU {gpu.index} is {gpu.state.replace('_', ' ')}: {why}"
            why = "It keeps the limit that it has; the agent tries again."
            return problem("leases", found, why, "Look at that GPU: nvidia-smi, and the agent's log.")
        if gpu.state == "foreign":
            found = f"another program has set {_watts(gpu)} on GPU {gpu.index}, over the agent's limit"
            why = "The agent leaves it, and limits that GPU no more during this lease."
            return warning("leases", found, why, f"Find who sets limits there: {_WHO}")
        if gpu.state == "restoring":
            found = f"the limit of GPU {gpu.index} is being restored"
            return warning("leases", found, "That takes milliseconds, unless the driver hangs.", "Look again soon.")
    return None


_WHO = "nvidia-smi in a crontab, a unit, or DCGM."


def _watts(gpu: NodeGpu) -> str:
    return "a limit" if gpu.power_limit_watts is None else f"{gpu.power_limit_watts:g} W"


def _holders(gpus: list[NodeGpu]) -> str:
    held = [gpu for gpu in gpus if gpu.holder is not None]
    texts = []
    for gpu in held:
        assert gpu.holder is not None
        job = f", job {gpu.holder.job_id}" if gpu.holder.job_id else ""
        texts.append(f"GPU {gpu.index} by process {gpu.holder.pid} of {gpu.holder.user}{job}")
    return f"leased: {'; '.join(texts)}" if texts else "no GPU is leased, none is limited"
