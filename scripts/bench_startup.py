"""How long `blemish --help` takes, interpreter start included: the median of several runs."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

HELP = "import sys; from blemish.cli import main; sys.argv = ['blemish', '--help']; main()"


def seconds() -> float:
    """One run, in seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", HELP], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Run once to compile and fill the disk cache, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    seconds()
    times = [seconds() for _ in range(runs)]
    median, low, high = statistics.median(times), min(times), max(times)
    print(f"blemish --help: median {median:.3f} s of {runs} runs ({low:.3f} to {high:.3f} s)")


if __name__ == "__main__":
    main()
