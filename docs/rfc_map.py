# SPDX-License-Identifier: MIT
"""Where each section of the RFCs of a proxy is implemented: the table behind rfc-map.md.

A row names functions and classes relative to `siproxd_tw`, or says why there are none; most that are not
self-evident do both. The source of what is named cites the section, and a test looks whether it does.
Introductions, terminology, IANA considerations, acknowledgements and references have no rows.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RFC", "RFCS", "Row"]


class Row(NamedTuple):
    """One section, or one numbered step of it."""

    section: str
    """As the RFC counts it; "16.6 step 8" is a step."""
    title: str
    names: tuple[str, ...] = ()
    """Dotted names relative to `siproxd_tw`."""
    note: str = ""
    """What somebody who knows the RFC should know; alone, the reason why there is nothing to name."""


class RFC(NamedTuple):
    """One document, or the part of it that is listed."""

    number: int
    title: str
    part: str
    rows: tuple[Row, ...]


def _row(section: str, title: str, names: str = "", note: str = "") -> Row:
    return Row(section, title, tuple(names.split()), note)


_OVERVIEW = "an overview; what it says is in the sections behind it"
_EXAMPLE = "an example"
_PHONE = "not applicable to a proxy: this is the phone's part"

_PROXY = (
    _row("16", "Proxy Behavior", "proxy.core.ProxyCore"),
    _row(
        "16.1", "Overview", "", "an overview. Stateless are only the answers to requests that go no further"
    ),
    _row(
        "16.2", "Stateful Proxy", "proxy.context.ResponseContext", "transaction-stateful, for every request"
    ),
    _row("16.3", "Request Validation", "proxy.core.ProxyCore.screen proxy.validation.validate"),
    _row("16.3 step 1", "Reasonable Syntax", "sip.parser.parse"),
    _row("16.3 step 2", "URI scheme", "proxy.validation.validate", "sip, sips and tel"),
    _row(
        "16.3 step 3",
        "Max-Forwards",
        "proxy.validation.validate",
        "OPTIONS with 0 is answered by us",
    ),
    _row("16.3 step 4", "Loop Detection", "proxy.forwarding.passed_before proxy.core.ProxyCore.screen"),
    _row("16.3 step 5", "Proxy-Require", "proxy.validation.validate", "no option tag is understood"),
    _row(
        "16.3 step 6",
        "Proxy-Authorization",
        "proxy.authentication.Authentication.check_request",
        "with `proxy_auth_requests = all`",
    ),
    _row(
        "16.4",
        "Route Information Preprocessing",
        "proxy.routing.Routing.preprocess",
        "not done: taking a maddr that is ours out of the Request-URI. Nothing of ours has one",
    ),
    _row(
        "16.5",
        "Determining Request Targets",
        "proxy.routing.Routing.targets",
        "all phones of an address of record at the same time, whatever their q",
    ),
    _row("16.6", "Request Forwarding", "proxy.sending.RequestForwarding"),
    _row("16.6 step 1", "Copy request", "proxy.sending.RequestForwarding.forward"),
    _row("16.6 step 2", "Request-URI", "proxy.sending.RequestForwarding.prepare"),
    _row("16.6 step 3", "Max-Forwards", "proxy.forwarding.count_down"),
    _row(
        "16.6 step 4",
        "Record-Route",
        "proxy.forwarding.add_record_route proxy.dress.Dress.request",
        "towards phones only: outside, the masqueraded Contact leads here",
    ),
    _row(
        "16.6 step 5",
        "Add Additional Header Fields",
        "proxy.dress.Dress.request",
        "and what masquerading changes: Contact, Refer-To, User-Agent",
    ),
    _row("16.6 step 6", "Postprocess routing information", "proxy.routing.Routing.postprocess"),
    _row(
        "16.6 step 7",
        "Determine Next-Hop Address, Port, and Transport",
        "proxy.sending.RequestForwarding.hops proxy.routing.Routing.beyond",
    ),
    _row(
        "16.6 step 8",
        "Add a Via header field value",
        "proxy.forwarding.add_via proxy.forwarding.branch_for",
    ),
    _row(
        "16.6 step 9",
        "Add a Content-Length header field if necessary",
        "proxy.forwarding.add_content_length",
    ),
    _row("16.6 step 10", "Forward Request", "proxy.sending.RequestForwarding.forward"),
    _row("16.6 step 11", "Set timer C", "sip.transaction.Timers sip.transaction.Transaction.advance"),
    _row("16.7", "Response Processing", "proxy.returning.ResponseProcessing"),
    _row(
        "16.7 step 1",
        "Find Context",
        "sip.transactionlayer.TransactionLayer.match",
        "a response without a context is dropped and not forwarded, as RFC 6026 wants it",
    ),
    _row(
        "16.7 step 2",
        "Update timer C for provisional responses",
        "sip.transaction.Transaction.advance",
        "a 100 starts it again, too",
    ),
    _row("16.7 step 3", "Via", "proxy.returning.ResponseProcessing"),
    _row(
        "16.7 step 4",
        "Add response to context",
        "proxy.returning.ResponseProcessing.received",
        "no recursion on a 3xx: it goes back to the caller",
    ),
    _row(
        "16.7 step 5",
        "Check response for forwarding",
        "proxy.returning.ResponseProcessing.received proxy.core.ProxyCore",
    ),
    _row("16.7 step 6", "Choosing the best response", "proxy.choice.best"),
    _row("16.7 step 7", "Aggregate Authorization Header Field Values", "proxy.choice.aggregate"),
    _row("16.7 step 8", "Record-Route", "proxy.dress.Dress.response proxy.forwarding.append_record_route"),
    _row("16.7 step 9", "Forward response", "proxy.returning.ResponseProcessing.conclude"),
    _row("16.7 step 10", "Generate CANCELs", "proxy.returning.ResponseProcessing.received"),
    _row(
        "16.8",
        "Processing Timer C",
        "sip.events.RingingTooLong sip.transaction.INVITE_CLIENT",
    ),
    _row("16.9", "Handling Transport Errors", "proxy.returning.ResponseProcessing.failed"),
    _row("16.10", "CANCEL Processing", "proxy.core.ProxyCore"),
    _row(
        "16.11", "Stateless Proxy", "", "not applicable: this proxy keeps state for every request it forwards"
    ),
    _row("16.12", "Summary of Proxy Route Processing", "", "a summary of 16.4 to 16.6"),
    _row("16.12.1", "Examples", "", _EXAMPLE),
    _row("16.12.1.1", "Basic SIP Trapezoid", "", _EXAMPLE),
    _row("16.12.1.2", "Traversing a Strict-Routing Proxy", "", "an example of 16.4 and 16.6 step 6"),
    _row(
        "16.12.1.3",
        "Rewriting Record-Route Header Field Values",
        "",
        "not done: two Record-Routes instead, as RFC 5658 recommends, see 16.6 step 4",
    ),
)

_TRANSACTIONS = (
    _row("17", "Transactions", "sip.transactionlayer.TransactionLayer"),
    _row("17.1", "Client Transaction", "sip.events.ClientTransaction"),
    _row("17.1.1", "INVITE Client Transaction", "sip.transaction.INVITE_CLIENT"),
    _row("17.1.1.1", "Overview of INVITE Transaction", "", _OVERVIEW),
    _row("17.1.1.2", "Formal Description", "sip.transaction.INVITE_CLIENT sip.transaction.Transaction"),
    _row("17.1.1.3", "Construction of the ACK Request", "sip.message.ack_for"),
    _row("17.1.2", "Non-INVITE Client Transaction", "sip.transaction.NON_INVITE_CLIENT"),
    _row("17.1.2.1", "Overview of the non-INVITE Transaction", "", _OVERVIEW),
    _row("17.1.2.2", "Formal Description", "sip.transaction.NON_INVITE_CLIENT sip.transaction.Transaction"),
    _row(
        "17.1.3",
        "Matching Responses to Client Transactions",
        "sip.transactionlayer.TransactionLayer.match",
    ),
    _row(
        "17.1.4",
        "Handling Transport Errors",
        "sip.transactionlayer.TransactionLayer.flow_failed",
    ),
    _row("17.2", "Server Transaction", "sip.events.ServerTransaction"),
    _row("17.2.1", "INVITE Server Transaction", "sip.transaction.INVITE_SERVER"),
    _row("17.2.2", "Non-INVITE Server Transaction", "sip.transaction.NON_INVITE_SERVER"),
    _row(
        "17.2.3",
        "Matching Requests to Server Transactions",
        "sip.transactionlayer.server_key sip.transactionlayer.TransactionLayer.absorb",
        "with the rules for RFC 2543 as well",
    ),
    _row(
        "17.2.4",
        "Handling Transport Errors",
        "",
        "not done: a response that cannot be sent, also not as 18.2.2 says, is counted, and its transaction "
        "ends by its timers",
    ),
)

_TRANSPORT = (
    _row("18", "Transport", "transport.layer.SignallingLayer"),
    _row("18.1", "Clients", "", "see its parts"),
    _row(
        "18.1.1",
        "Sending Requests",
        "proxy.sending.RequestForwarding.hops transport.stream.StreamTransport",
        "a request above `sip_udp_max` goes by TCP first, by UDP if that fails. No multicast",
    ),
    _row(
        "18.1.2",
        "Receiving Responses",
        "transport.layer.SignallingLayer.received",
        "the sent-by of the topmost Via is not compared: a branch that is not ours has no transaction, "
        "and the response is dropped",
    ),
    _row("18.2", "Servers", "", "see its parts"),
    _row("18.2.1", "Receiving Requests", "transport.layer.note_source"),
    _row(
        "18.2.2",
        "Sending Responses",
        "transport.layer.note_source interfaces.Flow transport.stream.StreamTransport.send",
        "not done: maddr in Via, which is for multicast",
    ),
    _row("18.3", "Framing", "sip.framing.Framer sip.parser.parse"),
    _row(
        "18.4",
        "Error Handling",
        "transport.layer.SignallingLayer.unsent",
        "ICMP errors are counted and end nothing: they do not say which peer is meant",
    ),
)

_LOCATING = (
    _row("4", "Client Usage", "transport.search.Search"),
    _row(
        "4.1",
        "Selecting a Transport Protocol",
        "transport.search.Search transport.search.transport_of",
        "without NAPTR the services are asked for in the order UDP, TCP, TLS. WebSocket servers are not "
        "looked for: nothing calls them",
    ),
    _row("4.2", "Determining Port and IP Address", "transport.search.Search.plan"),
    _row(
        "4.3",
        "Details of RFC 2782 Process",
        "transport.locator.Locator.failed proxy.sending.RequestForwarding transport.dnsrecords.in_order",
        "the next server is tried after 503, a transport error, or 2 s without any response",
    ),
    _row("4.4", "Consideration for Stateless Proxies", "", "not applicable: this proxy is stateful"),
    _row(
        "5",
        "Server Usage",
        "transport.layer.note_source",
        "when the connection of a request is gone its response goes to the address that the request came "
        "from. Not done: asking the DNS for the name in sent-by",
    ),
    _row(
        "6",
        "Constructing SIP URIs",
        "proxy.dress.Dress.contact_transport",
        "our Contacts and Record-Routes have an address and a port, and name the transport unless it is UDP",
    ),
    _row(
        "7",
        "Security Considerations",
        "transport.tls.TLS.distrust",
        "a certificate must be for the domain that was asked for, not for what the DNS has made of it",
    ),
    _row("8", "The Transport Determination Application", "transport.dnsrecords.Pointer"),
)

_OFFER_ANSWER = (
    _row("4", "Protocol Operation", "proxy.offeranswer.OfferAnswer"),
    _row(
        "5",
        "Generating the Initial Offer",
        "sdp.SessionDescription.relayed",
        "the party's own offer, with the relay's address and ports in it",
    ),
    _row("5.1", "Unicast Streams", "sdp.MediaDescription.relayed"),
    _row("5.2", "Multicast Streams", "", "not done: such a stream is relayed like any other"),
    _row("6", "Generating the Answer", "media.relay.LocalRelay.answer", "the party's own, as in 5"),
    _row("6.1", "Unicast Streams", "sdp.MediaDescription.relayed", "a port of 0 stays 0"),
    _row("6.2", "Multicast Streams", "", "not done, as 5.2"),
    _row("7", "Offerer Processing of the Answer", "media.session.MediaSession.answered"),
    _row("8", "Modifying the Session", "media.session.MediaSession.offered"),
    _row(
        "8.1",
        "Adding a Media Stream",
        "media.session.MediaSession.offered",
        "up to 16 in a description; more is 488",
    ),
    _row("8.2", "Removing a Media Stream", "media.session.MediaSession.answered"),
    _row("8.3", "Modifying a Media Stream", "", "see its parts"),
    _row("8.3.1", "Modifying Address, Port or Transport", "media.latch.Latch.agree"),
    _row(
        "8.3.2",
        "Changing the Set of Media Formats",
        "",
        "not applicable to a relay: formats are between the parties and stay as they are",
    ),
    _row("8.3.3", "Changing Media Types", "media.session.Stream.agree", "a call may become a fax"),
    _row("8.3.4", "Changing Attributes", "", "not applicable to a relay, as 8.3.2; but see 8.4"),
    _row(
        "8.4",
        "Putting a Unicast Media Stream on Hold",
        "sdp.NetworkAddress.is_hold sdp.MediaDescription.is_held",
    ),
    _row(
        "9",
        "Indicating Capabilities",
        "proxy.offeranswer.OfferAnswer",
        "a description in OPTIONS gets the relay's address, and its ports are freed with the answer",
    ),
    _row("10", "Example Offer/Answer Exchanges", "", _EXAMPLE),
    _row("10.1", "Basic Exchange", "", _EXAMPLE),
    _row("10.2", "One of N Codec Selection", "", _EXAMPLE),
    _row(
        "11",
        "Security Considerations",
        "",
        "not applicable: descriptions are changed on purpose here, and an encrypted one passes as it is",
    ),
)

_SYMMETRIC = (
    _row("3", "Client Behavior", "proxy.dress.Dress.via", "where `use_rport` says so"),
    _row("4", "Server Behavior", "transport.layer.note_source"),
    _row("5", "Syntax", "sip.headers.Via.rport"),
    _row("6", "Example", "", _EXAMPLE),
    _row("7", "Security Considerations", "", "adds nothing to what a proxy does"),
)

_MAX_BREADTH = {
    "5.1": "Overview",
    "5.2": "Examples",
    "5.3": "Formal Mechanism",
    "5.3.1": "Max-Breadth Header Field",
    "5.3.2": "Terminology",
    "5.3.3": "Proxy Behavior",
    "5.3.3.1": "Reusing Max-Breadth",
    "5.3.4": "UAC Behavior",
    "5.3.5": "UAS Behavior",
    "5.4": "Implementer Notes",
    "5.4.1": "Treatment of CANCEL",
    "5.4.2": "Reclamation of Max-Breadth on 2xx Responses",
    "5.4.3": "Max-Breadth and Automaton UAs",
    "5.5": "Parallel and Sequential Forking",
    "5.6": "Max-Breadth Split Weight Selection",
    "5.7": "Max-Breadth's Effect on Forking-Based Amplification Attacks",
    "5.8": "Max-Breadth Header Field ABNF Definition",
}

_AMPLIFICATION = (
    _row("3", "Vulnerability: Leveraging Forking to Flood a Network", "", "what section 4 is against"),
    _row("4", "Updates to RFC 3261", "", "see its parts"),
    _row(
        "4.1",
        "Strengthening the Requirement to Perform Loop Detection",
        "proxy.core.ProxyCore.screen",
        "for each request, also one that is not forked",
    ),
    _row("4.2", "Correcting and Clarifying the RFC 3261 Loop-Detection Algorithm", "", "see its parts"),
    _row("4.2.1", "Update to Section 16.6", "proxy.forwarding.branch_for"),
    _row("4.2.2", "Update to Section 16.3", "proxy.forwarding.passed_before"),
    _row("4.2.3", "Impact of Loop Detection on Overall Network Performance", "", "says nothing to do"),
    _row("4.2.4", "Note to Implementers", "proxy.forwarding.branch_for", "a keyed hash, compared as a whole"),
    _row(
        "5",
        "Max-Breadth",
        "",
        "not done: Max-Breadth passes as it is. A fork has ten branches at most, and a request that comes "
        "back unchanged is refused with 482",
    ),
    *(_row(section, title, "", "not done, as 5") for section, title in _MAX_BREADTH.items()),
    _row("7", "Security Considerations", "", "says what the document as a whole is for"),
)

_OUTBOUND = (
    _row("3", "Overview", "", _OVERVIEW),
    _row("3.1", "Summary of Mechanism", "", _OVERVIEW),
    _row("3.2", "Single Registrar and UA", "", _OVERVIEW),
    _row("3.3", "Multiple Connections from a User Agent", "", _OVERVIEW),
    _row("3.4", "Edge Proxies", "", _OVERVIEW),
    _row("3.5", "Keep-Alive Technique", "", "see its parts"),
    _row("3.5.1", "CRLF Keep-Alive Technique", "transport.connection.Connection sip.framing.KeepAlive"),
    _row(
        "3.5.2",
        "STUN Keep-Alive Technique",
        "",
        "not done: a STUN request on the SIP port is dropped. It keeps the way through a NAT open "
        "all the same, as do empty lines",
    ),
    _row("4", "User Agent Procedures", "", _PHONE),
    _row("4.1", "Instance ID Creation", "", _PHONE + "; the instance passes unchanged"),
    _row("4.2", "Registrations", "", _PHONE),
    _row("4.2.1", "Initial Registrations", "", _PHONE),
    _row("4.2.2", "Subsequent REGISTER Requests", "", _PHONE),
    _row("4.2.3", "Third-Party Registrations", "", _PHONE),
    _row("4.3", "Sending Non-REGISTER Requests", "", _PHONE),
    _row("4.4", "Keep-Alives and Detecting Flow Failure", "", "see its parts"),
    _row(
        "4.4.1",
        "Keep-Alive with CRLF",
        "transport.connection.Connection",
        "on our connections, where `tcp_keepalive` is set; a peer that never answered a ping is not "
        "given up for the next one",
    ),
    _row("4.4.2", "Keep-Alive with STUN", "", "not done, as 3.5.2"),
    _row("4.5", "Flow Recovery", "", _PHONE),
    _row("5", "Edge Proxy Procedures", "", "see its parts"),
    _row(
        "5.1",
        "Processing Register Requests",
        "",
        "not done as it stands there: the masqueraded Contact leads here instead of a Path of ours, and a "
        "binding remembers the flow",
    ),
    _row("5.2", "Generating Flow Tokens", "", "not done, as 5.1: the binding knows the flow"),
    _row(
        "5.3",
        "Forwarding Non-REGISTER Requests",
        "proxy.routing.Routing.targets",
        "a phone that has connected anew is reached by the new connection",
    ),
    _row(
        "5.3.1",
        "Processing Incoming Requests",
        "proxy.routing.Routing.to_phone",
        "480 for a flow that is gone; not 430, which is between proxies",
    ),
    _row(
        "5.3.2",
        "Processing Outgoing Requests",
        "",
        "not done: we are in the route set of a phone's dialogs anyhow, whether its Route has ob or not",
    ),
    _row("5.4", "Edge Proxy Keep-Alive Handling", "sip.framing.KeepAlive", "CRLF; not STUN"),
    _row(
        "6",
        "Registrar Procedures",
        "proxy.localregistrar.LocalRegistrar proxy.bindings.Binding.is_same_contact",
        "not done: Flow-Timer",
    ),
    _row(
        "7",
        "Authoritative Proxy Procedures: Forwarding Requests",
        "proxy.sending.RequestForwarding.hops",
        "of the flows of an instance the newest is used; the others are not asked when it fails",
    ),
    _row("8", "STUN Keep-Alive Processing", "", "not done, as 3.5.2"),
    _row("8.1", "Use with SigComp", "", "not done: no SigComp"),
    _row("9", "Example Message Flow", "", _EXAMPLE),
    _row("10", "Grammar", "proxy.bindings.Binding", "parameters of Contact pass as they were written"),
    _row(
        "12",
        "Security Considerations",
        "",
        "who may register is for the access lists and `proxy_auth_realm` to say",
    ),
    _row("13", "Operational Notes on Transports", "", "says nothing to do"),
    _row("14", "Requirements", "", "what the document itself had to fulfil"),
)

_REUSE = (
    _row("3", "Applicability Statement", "", "see 8"),
    _row("4", "Benefits of TLS Connection Reuse", "", "says nothing to do"),
    _row("5", "Overview of Operation", "transport.stream.StreamTransport.alias"),
    _row("6", "Requirements", "", "what the document itself had to fulfil"),
    _row("7", "Formal Syntax", "", "see 8.2: any Via parameter of this name counts"),
    _row("8", "Normative Behavior", "", "see its parts"),
    _row(
        "8.1",
        "Client Behavior",
        "proxy.dress.Dress.via",
        "our Via says alias by TLS, where we have a certificate to show",
    ),
    _row("8.2", "Server Behavior", "transport.layer.SignallingLayer"),
    _row("8.3", "Closing a TLS connection", "transport.connection.Connection.close"),
    _row("9", "Security Considerations", "transport.stream.StreamTransport.alias"),
    _row("9.1", "Authenticating TLS Connections: Client View", "transport.tls.TLS.distrust"),
    _row(
        "9.2",
        "Authenticating TLS Connections: Server View",
        "transport.tls.TLS.identities",
        "with `tls_verify_clients`; without it no client has proven to be anybody, and nothing is aliased",
    ),
    _row(
        "9.3",
        "Connection Reuse and Virtual Servers",
        "transport.stream.StreamTransport",
        "a connection is found by address and domain together",
    ),
    _row(
        "10",
        "Connection Reuse and SRV Interaction",
        "",
        "a connection counts for the address and port that it is with; SRV is asked all the same",
    ),
)

_CORRECT_2XX = (
    _row("3", "Reason for Change", "", "says nothing to do"),
    _row("4", "Summary of Change", "", "a summary of 7"),
    _row("5", "Consequences if Not Implemented", "", "says nothing to do"),
    _row("6", "The Change", "", "a summary of 7"),
    _row("7", "Change Details", "sip.transaction.State"),
    _row("7.1", "Server Transaction Impacts", "sip.transaction.INVITE_SERVER"),
    _row("7.2", "Client Transaction Impacts", "sip.transaction.INVITE_CLIENT"),
    _row("7.3", "Proxy Considerations", "sip.events.StrayResponse"),
    _row("8", "Exact Changes to RFC 3261", "", "8.1 to 8.11 put section 7 into the words of RFC 3261"),
    _row("10", "Security Considerations", "", "what 7.3 is against"),
)

RFCS = (
    RFC(
        3261,
        "SIP: Session Initiation Protocol",
        "sections 16 to 18",
        (*_PROXY, *_TRANSACTIONS, *_TRANSPORT),
    ),
    RFC(3263, "Session Initiation Protocol (SIP): Locating SIP Servers", "", _LOCATING),
    RFC(3264, "An Offer/Answer Model with the Session Description Protocol (SDP)", "", _OFFER_ANSWER),
    RFC(3581, "An Extension to SIP for Symmetric Response Routing", "", _SYMMETRIC),
    RFC(5393, "Addressing an Amplification Vulnerability in SIP Forking Proxies", "", _AMPLIFICATION),
    RFC(5626, "Managing Client-Initiated Connections in SIP", "", _OUTBOUND),
    RFC(5923, "Connection Reuse in SIP", "", _REUSE),
    RFC(6026, "Correct Transaction Handling for 2xx Responses to SIP INVITE Requests", "", _CORRECT_2XX),
)
