# SPDX-License-Identifier: MIT
"""``make bench``: signalling through siproxd_tw and through Kamailio, side by side on this machine.

Both forward the same traffic between the same namespaces in one run; bench/README.md says how to run it,
docs/benchmarks.md what each figure means. Needs root, Linux, two processor cores, Kamailio, a C compiler.
It ends what it has started and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.bed import Bed
from bench.load import Generator, Result, compile_in
from bench.plans import FULL, QUICK, SMOKE, Plan
from bench.proxies import ROOT, Proxy, Setting, kamailio, siproxd_tw, versions
from bench.report import Samples, publish
from tests.network.namespaces import Network
from tests.network.programs import Program, find

PROGRAMS = {"kamailio": "kamailio", "cc": "gcc libc6-dev", "ip": "iproute2", "setpriv": "util-linux"}
PROGRAMS |= {"taskset": "util-linux", "chrt": "util-linux", "git": "git", "ss": "iproute2"}
"""What is called, and Debian's package of it."""

BLACK_HOLES = "Black holes"
KINDS = {"register": "REGISTER", "call": "call", "info": "INFO"}
IN_A_CALL = 50
"""How many calls are up while requests within calls are measured."""
UNTIL_FORGOTTEN = 34.0
"""Seconds after which no transaction is left: Timer J is 32 s (RFC 3261 section 17.2.2)."""


class Bench:
    """One run of the whole plan; what it finds is in `samples`."""

    def __init__(self, plan: Plan, checkout: Path, directory: Path, network: Network) -> None:
        self.samples = Samples()
        self.complete = True
        self._plan = plan
        self._directory = directory
        self._bed = Bed(network)
        self._program = compile_in(ROOT / "bench" / "out")
        self._load_core, self._proxy_core = sorted(os.sched_getaffinity(0))[:2]
        self._settings = (siproxd_tw(checkout), kamailio())
        self._with_media = siproxd_tw(checkout, media=True)
        self._awake = _keep_awake(self._proxy_core, directory)
        self._started = 0

    def run(self) -> None:
        """Measure everything."""
        for size in self._plan.sizes:
            for setting in self._settings:
                self._try(f"{setting.name}, {size:,} registrations", self._at_size, setting, size)
        self._try(self._with_media.name, self._media)
        for setting in self._settings:
            self._try(f"{setting.name}, {BLACK_HOLES}", self._black_holes, setting)

    def close(self) -> None:
        """End what is not on a host of the network."""
        self._awake.stop()

    def _try(self, what: str, part: Callable[..., None], *arguments: object) -> None:
        """Measure one part; when it fails, the others are measured all the same."""
        try:
            part(*arguments)
        except AssertionError as problem:
            self.complete = False
            self.samples.notes.append(f"{what} could not be measured: {problem}")

    @contextlib.contextmanager
    def _running(self, setting: Setting, what: str) -> Iterator[tuple[Proxy, Generator]]:
        """Start a fresh proxy and fresh phones."""
        self._started += 1
        began = time.monotonic()
        proxy = Proxy(setting, self._bed, self._directory / f"{self._started}", self._proxy_core)
        try:
            with Generator(self._program, self._bed, self._load_core) as load:
                yield proxy, load
            if what != BLACK_HOLES:  # there, complaints are what should be
                self.samples.notes += [f"{setting.name}, {what}: {line}" for line in proxy.complaints()]
        finally:
            proxy.stop()
        print(f"{setting.name}, {what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    def _at_size(self, setting: Setting, size: int) -> None:
        group = f"{size:,} registrations"
        with self._running(setting, group) as (proxy, load):
            self._fill(proxy, load, group, size)
            for kind in ("register", "call"):
                for _ in range(self._plan.repeats):
                    self._moderate(proxy, load, group, kind)
            self._in_dialog(proxy, load, group)
            for kind in ("register", "call"):
                self._ceilings(proxy, load, group, kind, self._plan.searches.get(size, 1))

    def _fill(self, proxy: Proxy, load: Generator, group: str, size: int) -> None:
        """Register everybody, and wait until only the registrations are left."""
        memory, cpu = proxy.memory(), proxy.cpu()
        result = load.fill(size)
        self._check(proxy, group, "fill", result)
        wait = UNTIL_FORGOTTEN if size >= self._plan.forget_from else 0
        proxy.rest(0.05, 0.5, wait + 15, wait)
        used, grown = proxy.cpu() - cpu, proxy.memory() - memory
        add = self._adder(group, proxy.name)
        add("memory before the first registration, MiB", memory / 2**20)
        add("memory growth, KiB per registration", grown / 1024 / size)
        if wait:
            add(
                "first REGISTER, µs CPU per message, to the end of its transactions",
                1e6 * used / result["received"],
            )
            add("registering everybody, s", result["seconds"])

    def _moderate(self, proxy: Proxy, load: Generator, group: str, kind: str) -> None:
        """Measure cost and delay at a rate that leaves most of the core idle."""
        cpu = proxy.cpu()
        result = load.run(kind, self._plan.rates[kind], self._plan.seconds)
        used = proxy.cpu() - cpu
        self._check(proxy, group, kind, result)
        add, name = self._adder(group, proxy.name), KINDS[kind]
        add(f"{name}, µs CPU per message", 1e6 * used / max(1, result["received"]))
        if kind == "call" and result["ok"]:
            add("call, µs CPU per call", 1e6 * used / result["ok"])
        for what, title in {"request": "added delay", "round_trip": "round trip"}.items():
            for quantile in ("p50", "p99") if result[what]["n"] else ():
                add(f"{name}, {title} {quantile}, µs", result[what][quantile])

    def _in_dialog(self, proxy: Proxy, load: Generator, group: str) -> None:
        self._check(proxy, group, "dial", load.dial(IN_A_CALL))
        for _ in range(self._plan.repeats):
            self._moderate(proxy, load, group, "info")
        load.hang_up()

    def _ceilings(self, proxy: Proxy, load: Generator, group: str, kind: str, times: int) -> None:
        """Search the highest rate that it keeps up with; the first guess comes from the cost."""
        cost = self.samples.median(group, f"{KINDS[kind]}, µs CPU per message", proxy.name)
        # A step too high leaves a queue of retransmissions behind, which spoils the next one: begin below.
        rate = 0.5e6 / cost / {"register": 2, "call": 7}[kind]
        for _ in range(times):
            good = self._ceiling(proxy, load, kind, rate)
            self._adder(group, proxy.name)(f"{KINDS[kind]}, most per second", good)
            if good:
                rate = good
            else:
                self.samples.notes.append(
                    f"{proxy.name}, {group}, {KINDS[kind]}: no rate found that it keeps up with"
                )

    def _ceiling(self, proxy: Proxy, load: Generator, kind: str, rate: float) -> float:
        good, bad = 0.0, float("inf")
        deadline = time.monotonic() + self._plan.search
        while time.monotonic() < deadline and bad > 1.05 * good:
            if self._keeps_up(proxy, load, kind, rate) or self._keeps_up(proxy, load, kind, rate):
                good = rate
            else:
                bad = rate
            if not good:
                rate = bad / 1.5
            else:
                rate = good * 1.3 if bad == float("inf") else (good + bad) / 2
        return good

    def _keeps_up(self, proxy: Proxy, load: Generator, kind: str, rate: float) -> bool:
        """Say whether it forwards `rate` a second without repeats and without a queue that grows."""
        seconds = self._plan.step
        result = load.run(kind, rate, seconds)
        proxy.rest(0.5, 0.05, 3)
        if result["started"] < 0.98 * rate * seconds - 2:
            limit = f"sipbench itself does not manage {rate:.0f} a second: this ceiling may be higher"
            self.samples.notes.append(f"{proxy.name}, {KINDS[kind]}: {limit}")
            return False
        return bool(
            _repeated(result) < 0.01
            and result["in_time"] >= 0.97 * result["started"]
            and result["failed"] <= 0.01 * result["started"]
        )

    def _media(self) -> None:
        """Measure calls with descriptions rewritten and ports opened; Kamailio would need rtpengine."""
        size = self._plan.middle
        group = f"{size:,} registrations, media ports for every call"
        with self._running(self._with_media, group) as (proxy, load):
            self._check(proxy, group, "fill", load.fill(size))
            for _ in range(self._plan.repeats):
                self._moderate(proxy, load, group, "call")
            self._ceilings(proxy, load, group, "call", 1)

    def _black_holes(self, setting: Setting) -> None:
        """Measure good calls alone, then beside calls to where nobody answers."""
        with self._running(setting, BLACK_HOLES) as (proxy, load):
            load.fill(50)
            for _ in range(self._plan.repeats):
                self._good_calls(proxy, load, "good calls alone", 0)
            for _ in range(self._plan.repeats):
                self._good_calls(
                    proxy, load, f"beside {self._plan.bad:g} calls a second into black holes", self._plan.bad
                )

    def _good_calls(self, proxy: Proxy, load: Generator, title: str, bad: float) -> None:
        result = load.run("call", self._plan.rates["call"], self._plan.seconds * (2 if bad else 1), bad, 2)
        add = self._adder(BLACK_HOLES, proxy.name)
        for quantile in ("p50", "p99") if result["request"]["n"] else ():
            add(f"{title}: added delay {quantile}, µs", result["request"][quantile])
        if result["setup"]["n"]:
            add(f"{title}: INVITE to 200 p99, µs", result["setup"]["p99"])
        add(f"{title}: not completed, %", 100 * result["failed"] / max(1, result["started"]))

    def _adder(self, group: str, proxy: str) -> Callable[[str, float], None]:
        return lambda measure, value: self.samples.add(group, measure, proxy, value)

    def _check(self, proxy: Proxy, group: str, what: str, result: Result) -> None:
        """Note what spoils a figure."""
        if result["failed"] > 0.01 * result["started"] or _repeated(result) > 0.01:
            self.samples.notes.append(
                f"{proxy.name}, {group}, {what}: {result['failed']} of {result['started']} failed "
                f"(last status {result['last_status']}), {_repeated(result):.1%} repeated"
            )


def _repeated(result: Result) -> float:
    """Return the share of messages sent again, by phones, provider or proxy."""
    return float((result["repeated"] + result["duplicates"]) / max(1, result["sent"]))


def _keep_awake(core: int, directory: Path) -> Program:
    """Keep the proxy's core from halting, by the least urgent of all loops: virtual machines wake slowly."""
    loop = ["chrt", "--idle", "0", "taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]
    return Program("awake", loop, directory / "awake.log")


def _go_first() -> None:
    """Let other work on the machine give way, for both proxies alike (sched(7), the autogroup feature)."""
    with contextlib.suppress(OSError):
        os.nice(-10)
        Path("/proc/self/autogroup").write_text("-10")


def lacking() -> str:
    """Return in one line why this cannot run here; empty when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the benchmark makes network namespaces: it needs Linux and root (sudo make bench)"
    if len(os.sched_getaffinity(0)) < 2:
        return "the benchmark needs two processor cores, one for the load and one for the proxy"
    if missing := sorted({package for program, package in PROGRAMS.items() if not find(program)}):
        return f"missing programs; to install: apt-get install --no-install-recommends {' '.join(missing)}"
    return ""


def measure(plan: Plan, checkout: Path) -> tuple[Samples, bool]:
    """Run the plan with the siproxd_tw in `checkout`; say whether every part could be measured."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory, Network(Path(directory)) as network:
        bench = Bench(plan, checkout, Path(directory), network)
        try:
            bench.run()
        finally:
            bench.close()
        return bench.samples, bench.complete


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="two minutes, once each, and leave docs/ alone")
    parser.add_argument("--smoke", action="store_true", help="seconds: whether the benchmark itself works")
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, help="measure the siproxd_tw of another checkout"
    )
    options = parser.parse_args(arguments)
    if reason := lacking():
        print(reason, file=sys.stderr)
        return 2
    plan = SMOKE if options.smoke else QUICK if options.quick else FULL
    _go_first()
    began, load = time.monotonic(), os.getloadavg()[0]
    samples, complete = measure(plan, options.checkout.resolve())
    about = versions(options.checkout) | {
        "run": f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {plan.name}, "
        f"{time.monotonic() - began:.0f} s, load average before it {load:.1f}"
    }
    print(publish(samples, about, ROOT, into_docs=complete and plan is FULL))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
