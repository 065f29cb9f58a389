"""How the tests compile: nearly all of their programs run once or twice, and take longer to compile than to run."""

# XLA's older code for fusions, in one piece: a third of the time to compile.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def flags(devices: int) -> str:
    """The value of XLA_FLAGS for a process with this many fake devices."""
    return f"{FLAGS} --xla_force_host_platform_device_count={devices}"
