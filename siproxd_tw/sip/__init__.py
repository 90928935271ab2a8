# SPDX-License-Identifier: MIT
"""The words of RFC 3261: standard library only, no network, no clock."""
