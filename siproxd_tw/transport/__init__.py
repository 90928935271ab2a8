# SPDX-License-Identifier: MIT
"""RFC 3261 section 18: sockets, flows, addresses, where messages go."""
