"""What the stages of one run share: child processes, GPUs, environment. GPUs are found without loading torch."""

import os
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.paths import HERE
from flows.graph.plan import Planned
from flows.workspace.children import Children
from flows.workspace.environment import of_user

GPU_STAGES = {"warmup", "train", "acquire", "evaluate"}


class Machine:
    """The running children, the GPUs that are free, and the environment of the stages of one run."""

    def __init__(self, gpus: list[str]) -> None:
        self.children = Children()
        self.seconds: dict[str, float] = {}
        """What has run -> how long that took."""
        self._has_gpus = bool(gpus)
        self._free: queue.Queue[str] = queue.Queue()
        for gpu in gpus:
            self._free.put(gpu)

    @contextmanager
    def environment(self, planned: Planned) -> Iterator[dict[str, str]]:
        """The environment of the process of stages; those that compute wait for a GPU of their own."""
        folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        settings = {"PATH": folders, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
        if planned.folder != HERE.folder:
            settings["PYTHONPATH"] = str(planned.folder.absolute() / "src")  # its own copy of the code
        environment = {**of_user(os.environ), **settings}
        if not self.lends_gpu(planned):
            yield environment
            return
        gpu = self._free.get()
        try:
            yield environment | {"CUDA_VISIBLE_DEVICES": gpu}
        finally:
            self._free.put(gpu)

    def lends_gpu(self, planned: Planned) -> bool:
        """Whether there are GPUs, and stages that compute."""
        return self._has_gpus and bool(planned.kinds & GPU_STAGES)


def usable_gpus(device: str) -> list[str]:
    """`visible_gpus` unless `runtime.device` of params.yaml is the CPU."""
    return [] if device == "cpu" else visible_gpus()


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES allows, all of the machine where it is not set; empty without a GPU."""
    # CUDA counts those that are there from 0; in a container that holds one of several, its file keeps its number.
    present = [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present or allowed is None:
        return present
    return [device for device in allowed.split(",") if device not in ("", "-1")]
