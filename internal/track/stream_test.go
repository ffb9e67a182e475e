package track

import (
	"testing"
	"time"
)

func TestStream(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	var s Stream
	if s = s.Silence(at(0), ProbeAsked); s.Asks() {
		t.Error("a stream without an answer counts from nothing")
	}
	s = s.Answer(at(100))
	before := s
	// What was sent before the last answer and is told of late is no part of the outage.
	s = s.Silence(at(50), ProbeAsked).Silence(at(200), ProbeAsked).Silence(at(250), ProofAsked).Silence(at(300), ProbeAsked)
	for _, c := range []struct {
		until int
		want  Lost
	}{{100, Lost{}}, {200, Lost{1, 0}}, {299, Lost{1, 1}}, {300, Lost{2, 1}}, {9999, Lost{2, 1}}} {
		if got := s.Lost(at(c.until)); got != c.want {
			t.Errorf("until %d: %+v, want %+v", c.until, got, c.want)
		}
	}
	if before.Lost(at(9999)) != (Lost{}) {
		t.Error("the value before has changed")
	}
	// An answer that comes out of order ends only what was sent before it.
	if got := s.Answer(at(250)).Lost(at(9999)); got != (Lost{1, 0}) {
		t.Errorf("after a late answer: %+v", got)
	}
	if got := s.Answer(at(50)).Lost(at(9999)); got != (Lost{2, 1}) {
		t.Errorf("an answer to an older question changed it to %+v", got)
	}
	for i := range 2 * maxLost {
		s = s.Silence(at(1000+i), ProbeAsked)
	}
	if n := s.Lost(at(1 << 20)); n.Probes+n.Proofs != maxLost {
		t.Errorf("%+v are kept, want %d", n, maxLost)
	}
}
