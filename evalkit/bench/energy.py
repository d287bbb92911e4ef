"""Joules that this machine has used so far, where it tells: the RAPL counters of whole processor packages (Intel, AMD),
and NVIDIA's counter of a GPU. Both count what else runs there, too."""

from collections.abc import Callable
from pathlib import Path

from evalkit.bench.timing import Meter

POWERCAP = Path("/sys/class/powercap")


def meter(device: str, powercap: Path = POWERCAP) -> tuple[Meter | None, str]:
    """What counts the energy that is used.

    Args:
        device: A device of torch: `cuda…` is asked through NVML, a processor through RAPL.
        powercap: Where Linux shows the RAPL counters.

    Returns:
        A function that gives the joules so far, and the counter's name; or None and the reason.
    """
    if device.startswith("cuda"):
        return _gpu(device)
    zones = [Zone(path) for path in sorted(powercap.glob("intel-rapl:[0-9]*")) if path.name.count(":") == 1]
    try:
        for zone in zones:
            zone()
    except OSError as error:
        return None, f"its energy counter cannot be read ({error.strerror}; on Linux it needs root by default)"
    if not zones:
        return None, f"this machine has no energy counter in {powercap}"
    return lambda: sum(zone() for zone in zones), "RAPL, entire CPU packages"


class Zone:
    """One package's counter, which begins anew after `max_energy_range_uj`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last, self._before = 0, 0

    def __call__(self) -> float:
        now = self._read("energy_uj")
        if now < self._last:
            self._before += self._read("max_energy_range_uj")
        self._last = now
        return (self._before + now) / 1e6

    def _read(self, name: str) -> int:
        return int((self._path / name).read_text())


def _gpu(device: str) -> tuple[Callable[[], float] | None, str]:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(device.partition(":")[2] or 0))
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except ImportError:
        return None, "NVIDIA's counter is read by nvidia-ml-py, which is not installed"
    except Exception as error:  # NVML has an exception of its own for every lack
        return None, f"NVIDIA's energy counter cannot be read: {error}"
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000, "NVML, the whole GPU"
