"""`lens-bridge demo`: the whole of it on one machine, with things going wrong, and a verdict at the end."""

from bridge.lab.demo.performance import DemoOptions, run_demo

__all__ = ["DemoOptions", "run_demo"]
