# SPDX-License-Identifier: MIT
"""What siproxd calls plug-ins: one file each, providers of hook stages."""
