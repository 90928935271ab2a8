# SPDX-License-Identifier: MIT
from twisted.application.service import ServiceMaker

siproxd = ServiceMaker(  # type: ignore[no-untyped-call]
    "siproxd", "siproxd_tw.tap", "SIP masquerading proxy and RTP relay", "siproxd"
)
