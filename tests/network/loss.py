# SPDX-License-Identifier: MIT
"""Loss on the way to a host: each UDP datagram for it is thrown away with a given probability.

By nftables in the namespace of the host that would have received it, as netem would do it on the wire: the
sender does not learn of it. Unlike netem (sch_netem) it is in every kernel with nftables.
"""

from __future__ import annotations

import json

from tests.network.namespaces import Host

RULES = """\
table inet loss {{
    counter came {{ }}
    counter lost {{ }}
    chain input {{
        type filter hook input priority 0;
        {condition} meta l4proto udp counter name came
        {condition} meta l4proto udp numgen random mod 100 < {percent} counter name lost drop
    }}
}}
"""


class Loss:
    """Loses `percent` of what comes to each of `hosts`, from the given address only if there is one."""

    def __init__(self, percent: int, hosts: dict[Host, str]) -> None:
        self._percent = percent
        self._hosts = hosts

    def __enter__(self) -> Loss:
        for host, source in self._hosts.items():
            condition = f"ip saddr {source}" if source else ""
            host.run("nft", RULES.format(condition=condition, percent=self._percent))
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.run("nft", "delete table inet loss")

    def counted(self) -> tuple[int, int]:
        """Return how many datagrams came, and how many of them were lost."""
        sums = {"came": 0, "lost": 0}
        for host in self._hosts:
            found = json.loads(host.run("nft", "-j", "list counters table inet loss"))["nftables"]
            for counter in (each["counter"] for each in found if "counter" in each):
                sums[counter["name"]] += counter["packets"]
        return sums["came"], sums["lost"]
