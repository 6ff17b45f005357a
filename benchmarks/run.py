"""All benchmarks one after the other: small by default, `--full` for the sizes of benchmarks/results/."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHMARKS = (
    "overhead",
    "mcap",
    "logs",
    "heavy",
    "hdf5",
    "align",
    "video",
    "memory",
    "dedup",
    "dedup_memory",
    "ray",
    "scale_sim",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="minutes and gigabytes instead of seconds and megabytes")
    parser.add_argument("--write", action="store_true", help="write the reports to benchmarks/results/")
    parser.add_argument("--only", choices=BENCHMARKS, help="one of them")
    options = parser.parse_args()
    passed = [f"--{name}" for name in ("full", "write") if getattr(options, name)]
    for name in BENCHMARKS:
        if options.only in (None, name):
            # A process each: what one leaves in caches and allocators is not in the next one's figures.
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *passed], check=True)
            print(flush=True)


if __name__ == "__main__":
    main()
