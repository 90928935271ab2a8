# SPDX-License-Identifier: MIT
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address
from siproxd_tw.media.latch import QUIET, Action, Latch, comedia

SAID, REAL, THIRD = Address("203.0.113.60", 50000), Address("198.51.100.9", 1024), Address("192.0.2.66", 666)


def arrives(latch: Latch, source: Address, now: float) -> str:
    """Let one packet come from `source`, as a relay does it, and return what becomes of it."""
    if source != latch.source:
        action, reason = comedia(latch, source, now)
        if action is Action.IGNORE:
            return f"ignore: {reason}"
        latch.follow(source, now)
        latch.packets += 1
        return f"{action.value}: {reason}"
    latch.packets += 1
    return "relayed"


class TestLatch:
    def test_as_announced(self):
        """Sending starts at once to the announced address, and stays there when packets come from it."""
        latch = Latch()
        assert latch.target is None
        latch.agree(SAID, 0)
        assert latch.target == SAID
        assert arrives(latch, SAID, 1) == "latch: announced"
        assert arrives(latch, SAID, 1) == "relayed"
        assert latch.target == SAID

    def test_the_description_lies(self):
        """A party behind NAT is found by its first packet; then nobody else is let in."""
        latch = Latch()
        latch.agree(SAID, 0)
        assert arrives(latch, REAL, 1) == "latch: first packet"
        assert latch.target == REAL
        assert arrives(latch, THIRD, 1.01) == "ignore: foreign source"
        assert latch.target == REAL

    def test_the_announced_address_wins(self):
        """Whoever was first, the address that the party itself has named is better."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, THIRD, 1)
        assert arrives(latch, SAID, 1.1) == "move: announced"
        assert arrives(latch, THIRD, 1.2) == "ignore: foreign source"

    def test_a_source_that_fell_silent_is_replaced(self):
        """A party whose address has changed is followed once the old one has been silent."""
        latch = Latch()
        latch.agree(SAID, 0)
        for now in (1.0, 1.02, 1.04):
            arrives(latch, REAL, now)
        assert arrives(latch, THIRD, 1.06) == "ignore: foreign source"
        assert arrives(latch, THIRD, 1.06 + QUIET - 0.01) == "ignore: foreign source"
        assert arrives(latch, THIRD, 1.06 + QUIET) == "move: the source fell silent"
        assert arrives(latch, REAL, 1.1 + QUIET) == "ignore: foreign source"

    def test_a_source_that_goes_on_is_not_replaced(self):
        """However long a stranger sends, it gets nowhere while the party is heard."""
        latch = Latch()
        latch.agree(SAID, 0)
        for step in range(1000):
            arrives(latch, REAL, step * 0.02)
            if step:
                assert arrives(latch, THIRD, step * 0.02 + 0.01) == "ignore: foreign source"

    def test_learning_again_after_an_answer(self):
        """A new agreement with the same address keeps sending where it was, and believes the next source."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, REAL, 1)
        latch.agree(SAID, 10)
        assert latch.target == REAL
        assert arrives(latch, THIRD, 10.1) == "move: first packet after an answer"
        assert arrives(latch, REAL, 10.2) == "ignore: foreign source"

    def test_learning_ends_with_the_first_packet(self):
        """After a new agreement the old source is as good as any; when it is first, learning is over."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, REAL, 1)
        latch.agree(SAID, 10)
        assert arrives(latch, REAL, 10.1) == "relayed"
        assert arrives(latch, THIRD, 10.2) == "ignore: foreign source"

    def test_a_new_address(self):
        """Another address counts at once; late packets from the old place do not bring it back."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, SAID, 1)
        latch.agree(REAL, 10)
        assert latch.target == REAL
        assert arrives(latch, SAID, 10.1) == "ignore: superseded source"
        assert arrives(latch, REAL, 10.2) == "latch: announced"
        assert arrives(latch, SAID, 10 + QUIET) == "ignore: foreign source"

    def test_a_new_address_that_is_not_true(self):
        """When packets go on coming from the old place and from nowhere else, that is where it is."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, REAL, 1)
        latch.agree(THIRD, 10)
        assert arrives(latch, REAL, 11) == "ignore: superseded source"
        assert arrives(latch, REAL, 10 + QUIET) == "latch: first packet"
        assert latch.target == REAL

    def test_early_media(self):
        """Before the answer whoever comes first is believed; the answer starts learning anew."""
        latch = Latch()
        assert arrives(latch, REAL, 1) == "latch: first packet"
        assert latch.target == REAL
        latch.agree(SAID, 2)
        assert latch.target == SAID
        assert arrives(latch, REAL, 2.01) == "latch: first packet"

    def test_hold_and_resume(self):
        """On hold nothing is sent; after it things are as they were, without learning from nothing."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, REAL, 1)
        latch.hold()
        assert latch.target is None
        assert arrives(latch, REAL, 2) == "relayed"
        latch.agree(SAID, 60)
        assert latch.target == REAL

    def test_an_address_that_is_unknown(self):
        """A description without a usable address leaves it to the packets."""
        latch = Latch()
        latch.agree(SAID, 0)
        arrives(latch, SAID, 1)
        latch.agree(None, 10)
        assert latch.target is None
        assert arrives(latch, REAL, 11) == "latch: first packet"

    @given(
        st.lists(
            st.tuples(st.sampled_from([SAID, REAL, THIRD, "agree", "hold"]), st.floats(0, 3)), max_size=60
        )
    )
    def test_any_life(self, events):
        """It sends to the announced address or to a source that has sent, and counts only its source."""
        latch, now, sources = Latch(), 0.0, set()
        for event, pause in events:
            now += pause
            if event == "agree":
                latch.agree(SAID, now)
            elif event == "hold":
                latch.hold()
                assert latch.target is None
            else:
                before = latch.packets
                outcome = arrives(latch, event, now)
                sources.add(event)
                assert (latch.packets > before) == (not outcome.startswith("ignore"))
                assert (latch.source == event) == (not outcome.startswith("ignore"))
            assert latch.target in {None, SAID, *sources}
