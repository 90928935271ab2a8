# SPDX-License-Identifier: MIT
"""What RFC 3264 and RFC 3550 imply: sessions, ports, relays."""
