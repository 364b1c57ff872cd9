"""Certificates as the kubelet mounts those of a Secret: links to a directory that is exchanged as a whole."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

from bridge.errors import SinkFault
from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.store.link import RedisLink
from tests.support.topology.certificates import Authority, Rotating, needs_tls


class Projected:
    """``tls.crt`` leads to ``..data/tls.crt``, and ``..data`` to the newest of the directories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count()
        for name in ("ca.crt", "tls.crt", "tls.key"):
            (directory / name).symlink_to(Path("..data") / name)

    def bring(self, authority: Authority) -> None:
        """A new directory with what this authority vouches for, and the old one is gone."""
        fresh = self.directory / f"..{next(self._numbers)}"
        fresh.mkdir()
        for source, name in zip((authority.file, *authority.vouch_for("worker")), ("ca.crt", "tls.crt", "tls.key"),
                                strict=True):  # fmt: skip
            shutil.copy(source, fresh / name)
        data, link = self.directory / "..data", self.directory / "..data_tmp"
        before = data.resolve() if data.is_symlink() else None
        link.symlink_to(fresh.name)
        os.replace(link, data)
        if before:
            shutil.rmtree(before)


@needs_tls
async def test_a_secret_that_the_kubelet_exchanges_is_used_from_the_next_connect_on(tmp_path: Path) -> None:
    """No file that the settings name is ever touched: what changes is where its link leads."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    async with Rotating(tmp_path / "rotating") as rotating:
        secret = Projected(rotating.files["ca.crt"].parent)
        secret.bring(old)
        await rotating.serve(old)
        settings = RedisSettings.model_validate({"url": rotating.url, **rotating.settings})
        link = RedisLink(settings, Secrets())
        assert await link.call("PING") == b"PONG"
        secret.bring(new)
        await rotating.serve(new)
        with suppress(SinkFault):
            await link.call("PING")  # the old connection, unless its end was seen already
        assert await link.call("PING") == b"PONG"
        await link.aclose()
