"""The configuration and the secrets change under the workers, rightly and wrongly."""

from __future__ import annotations

import asyncio

from tests.soak.deployment import REDIS_USER, Deployment
from tests.soak.night import Night

__all__ = [
    "hang_up",
    "leave_out_a_session",
    "rotate_key",
    "rotate_password",
    "settle_reloads",
    "stop_discovering",
    "write_nonsense",
]

NONSENSE = ("", "sessions: [", "sessions: [a/b]\n", "log: {level: 5}\n", "lease: {ttl: 5}\n", "\x00")


async def hang_up(night: Night) -> str:
    """SIGHUP, to one that has begun: as any program it would end of it before."""
    worker = night.random.choice(night.workers)
    await worker.port()
    worker.reload()
    return worker.log.stem


async def leave_out_a_session(night: Night) -> str:
    """A list without it, and with it again after a while."""
    deployment = _any(night)
    left_out = night.random.choice(deployment.listed)
    deployment.listed.remove(left_out)
    deployment.write()
    await _moment(night)
    deployment.write_all()
    return f"{left_out} in {deployment.name}"


async def write_nonsense(night: Night) -> str:
    """A bad file for a while: what was in force stays in force."""
    deployment = _any(night)
    deployment.write(nonsense := night.random.choice(NONSENSE))
    await _moment(night)
    deployment.write()
    return f"{deployment.name} {nonsense!r}"


async def stop_discovering(night: Night) -> str:
    """One deployment lets go of what it has found, and finds it again."""
    deployment = _any(night)
    deployment.discovers = False
    deployment.write()
    await _moment(night)
    deployment.write_all()
    return deployment.name


async def rotate_key(night: Night) -> str:
    """In good order, or so that the old key is refused before the workers have the new one."""
    late = night.random.random() < 0.5
    old, new = night.secrets.key, night.secrets.new_key()
    night.rig.simulator.api_keys.append(new)
    if late:
        night.rig.simulator.api_keys.remove(old)
        for session in night.living:
            if night.random.random() < 0.3:
                session.drop()
        await _moment(night)
    _give(night)
    await _moment(night)
    if not late:
        night.rig.simulator.api_keys.remove(old)
    return "key " + ("too late" if late else "in order")


async def rotate_password(night: Night) -> str:
    """Of Redis, in good order or not; connections end meanwhile, now and then."""
    late = night.random.random() < 0.5
    old, new = night.secrets.password, night.secrets.new_password()
    await night.permit(new)
    if late:
        await night.forbid(old)
        night.proxy.cut()
        await _moment(night)
    _give(night)
    await _moment(night)
    if not late:
        await night.forbid(old)
    if night.random.random() < 0.5:
        night.proxy.cut()
    return f"redis password of {REDIS_USER} " + ("too late" if late else "in order")


async def settle_reloads(night: Night) -> None:
    """Good files, and secrets that are taken."""
    if night.secrets.key not in night.rig.simulator.api_keys:
        night.rig.simulator.api_keys.append(night.secrets.key)
    await night.permit(night.secrets.password)
    _give(night)
    for deployment in night.deployments:
        deployment.write_all()


def _any(night: Night) -> Deployment:
    return night.random.choice(night.deployments)


def _give(night: Night) -> None:
    for deployment in night.deployments:
        deployment.give_secrets(night.secrets.key, night.secrets.password)


async def _moment(night: Night) -> None:
    await asyncio.sleep(night.random.uniform(0, 4))
