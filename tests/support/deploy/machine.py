"""A machine with systemd: a container whose first process is systemd itself, and which runs the unit that it is given.

Its programs are those of this machine. Its network is this machine's own, and the kernel's settings can only be read.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.deploy.needs import need_program, need_root
from tests.support.deploy.runc import MASKED, READ_ONLY, RuncContainer, bound, namespaces

__all__ = ["UNIT", "Machine"]

UNIT = "lens-bridge.service"
PROJECT = Path(__file__).parents[3]
SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/usr/lib/systemd/system")
# Of what systemd starts on a machine that boots, as much as a service needs.
KEPT = {"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
        "systemd-tmpfiles-setup.service"}  # fmt: skip
# What systemd needs to make the sandbox of a service; nothing that reaches beyond this container.
CAPABILITIES = [
    f"CAP_{one}"
    for one in ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
                "SETFCAP", "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "MKNOD", "AUDIT_WRITE")
]  # fmt: skip
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PROGRAM = """\
#!/bin/sh
LD_LIBRARY_PATH=/opt/python/lib exec /opt/lens-bridge/bin/python -m bridge "$@"
"""


class Machine(RuncContainer):
    """``files``: what an administrator has put there, by path. The program stands in /opt/lens-bridge.

    Skips where a tool is missing.
    """

    def __init__(self, directory: Path, files: dict[str, str]) -> None:
        need_root()
        for program in ("runc", str(SYSTEMD)):
            need_program(program)
        super().__init__(directory)
        self.root = self.bundle / "root"
        self._lay_out(files)
        self._install(self.bundle / "program")
        self.config = self._boots()

    async def systemctl(self, *arguments: str) -> str:
        """What it says; it may say it with any exit code."""
        return (await self.execute("systemctl", "--no-pager", *arguments))[1]

    async def property(self, name: str) -> str:
        """One of the unit's."""
        return (await self.systemctl("show", UNIT, "--property", name, "--value")).strip()

    async def journal(self) -> str:
        """What the service has said."""
        return (await self.execute("journalctl", "--no-pager", "--unit", UNIT, "--output", "cat"))[1]

    def _lay_out(self, files: dict[str, str]) -> None:
        for name in ("dev", "etc", "home", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var/log", "var/tmp"):
            (self.root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
            (self.root / "etc" / name).write_bytes((Path("/etc") / name).read_bytes())
        masked = self.root / "etc" / "systemd" / "system"
        masked.mkdir(parents=True)
        for one in UNITS.glob("*.target.wants/*"):
            if one.name not in KEPT and not (masked / one.name).is_symlink():
                (masked / one.name).symlink_to("/dev/null")
        known = {"etc/machine-id": f"{secrets.token_hex(16)}\n", "etc/hosts": "127.0.0.1 localhost redis.example\n"}
        for path, text in {**known, **files}.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run(
            ["systemctl", f"--root={self.root}", "enable", UNIT],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _install(self, program: Path) -> None:
        """As `python3 -m venv` and `pip install` would, but what is installed is seen where it stands."""
        packages = program / "lib" / PYTHON / "site-packages"
        packages.mkdir(parents=True)
        (packages / "bridge.pth").write_text("/opt/packages\n/opt/project\n")
        (program / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
        (program / "bin").mkdir()
        (program / "bin" / "python").symlink_to(f"/opt/python/bin/{PYTHON}")
        script = program / "bin" / "lens-bridge"
        script.write_text(_PROGRAM)
        script.chmod(0o755)

    def _boots(self) -> dict[str, Any]:
        seen = {
            "/usr": Path("/usr"),
            "/opt/python": Path(sys.base_prefix),  # it may stand in a home directory, which the unit hides
            "/opt/lens-bridge": self.bundle / "program",
            "/opt/packages": Path(sys.prefix, "lib", PYTHON, "site-packages"),
            "/opt/project": PROJECT,
        }
        unset = ["nosuid", "nodev"]
        return {
            "ociVersion": "1.0.2",
            "hostname": "machine",
            "root": {"path": str(self.root)},
            "process": {
                # Mounts reach the sandboxes of services, as on a machine that boots: by such a mount credentials come.
                "args": ["/bin/sh", "-c", f"mount --make-rshared / && exec {SYSTEMD} --unit=multi-user.target"],
                "cwd": "/",
                "env": ["container=runc", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs", "options": [*unset, "mode=1777"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*unset, "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*unset, "rw"]},
                {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": [*unset, "mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*unset, "mode=1777"]},
                *(bound(what, where) for where, what in seen.items()),
            ],
            "linux": {"namespaces": namespaces(), "maskedPaths": MASKED, "readonlyPaths": READ_ONLY},
        }
