package fsm

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/bgp/message"
)

// TestResumedIsTheSame takes a session that stands through text into another machine: from there on the two do the same,
// whatever happens.
func TestResumedIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := params()
		p.Graceful.Enabled = rapid.Bool().Draw(t, "graceful")
		p.Hold = time.Duration(rapid.SampledFrom([]int{0, 3, 9, 90}).Draw(t, "hold")) * time.Second
		now := start
		step := func(most int) {
			now = now.Add(time.Duration(rapid.IntRange(0, most).Draw(t, "ms")) * time.Millisecond)
		}
		s := New(p)
		on := func(e Event) { s, _ = s.Handle(now, e) }
		on(Start{})
		if rapid.Bool().Draw(t, "outgoing") {
			on(Dialed{1})
		} else {
			on(DialFailed{})
			on(Accepted{1})
		}
		on(Received{1, peerOpen(graceful(rapid.Bool().Draw(t, "R"), rapid.Bool().Draw(t, "N")))})
		on(Received{1, message.Keepalive{}})
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			step(2000) // less than any hold time
			on(Tick{})
			on(Updated{1})
		}
		st, id, ok := s.Standing()
		if !ok || id != 1 {
			t.Fatalf("no session stands: %v", s.Phase())
		}
		text, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		var read Standing
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		r, err := Resume(p, read, 1)
		if err != nil {
			t.Fatal(err)
		}
		again, id, ok := r.Standing()
		if !ok || id != 1 || !reflect.DeepEqual(again, st) {
			t.Fatalf("standing is %+v, was %+v", again, st)
		}
		var last ConnID = 1
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			step(4000)
			var e Event
			switch rapid.IntRange(0, 8).Draw(t, "event") {
			case 0, 1:
				e = Tick{}
			case 2:
				e = Updated{1}
			case 3:
				e = Received{1, message.Keepalive{}}
			case 4:
				last++
				e = Accepted{last}
			case 5:
				e = Received{last, peerOpen(graceful(true, true))}
			case 6:
				e = Closed{1, nil}
			case 7:
				e = Received{1, message.Cease(message.AdministrativeReset, "")}
			default:
				e = Alive{1, now}
			}
			var a, b []Action
			s, a = s.Handle(now, e)
			r, b = r.Handle(now, e)
			if !reflect.DeepEqual(a, b) || !s.Next().Equal(r.Next()) || s.Phase() != r.Phase() {
				t.Fatalf("%T: %v and %v, next %v and %v, %v and %v", e, a, b, s.Next(), r.Next(), s.Phase(), r.Phase())
			}
		}
	})
}

func TestResumeRefuses(t *testing.T) {
	good := func() Standing {
		return Standing{Negotiated: &Negotiated{Options: message.Options{Families: params().Families}, RouterID: params().RouterID,
			Hold: 9 * time.Second, Keepalive: 3 * time.Second, SendHold: time.Minute}, Since: start, Hold: start, Keepalive: start}
	}
	if _, err := Resume(params(), good(), 1); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Standing){
		"nothing was agreed on": func(s *Standing) { s.Negotiated = nil },
		"families none of ours": func(s *Standing) { s.Negotiated.Families = nil },
		"hold time 2s":          func(s *Standing) { s.Negotiated.Hold = 2 * time.Second },
		"hold time 3m0s":        func(s *Standing) { s.Negotiated.Hold = 3 * time.Minute },
		"keepalives every 10s":  func(s *Standing) { s.Negotiated.Keepalive = 10 * time.Second },
		"send hold time 0s":     func(s *Standing) { s.Negotiated.SendHold = 0 },
		"timers do not fit":     func(s *Standing) { s.Hold = time.Time{} },
		"router id invalid IP":  func(s *Standing) { s.Negotiated.RouterID = (Negotiated{}).RouterID },
		"-1 errors":             func(s *Standing) { s.Errors = -1 },
	} {
		s := good()
		n := *s.Negotiated
		s.Negotiated = &n
		change(&s)
		if _, err := Resume(params(), s, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
