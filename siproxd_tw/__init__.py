# SPDX-License-Identifier: MIT
"""siproxd_tw: a SIP masquerading proxy with an RTP relay, for the gateway between phones and the Internet.

The map. Words at the bottom, contracts above them, five trades that only meet there, assembly on top:

- `edits`, `sip`, `sdp`, `rtp`: what messages and packets are; no network, clock or framework.
- `config`: siproxd.conf. `interfaces`: what the trades promise one another.
- `transport`: sockets, the pump, addresses, names. `proxy`: RFC 3261 section 16 and the masquerade.
  `media`: offer/answer's consequences and the relay. `admin`: the process
  itself. `plugins`: still empty.
- `service`: `Siproxd` builds and wires everything. `tap`: ``twistd siproxd``.

A SIP message walks ``transport.udp``, or another one, > ``transport.layer`` > ``sip.transactionlayer`` >
``proxy.core`` and back down. An RTP packet walks ``media.userspace`` and nothing else. docs/architecture.md
has both in full.
"""
