package fsm

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

func TestStale(t *testing.T) {
	admin := message.Cease(message.AdministrativeReset, "")
	broken := &message.NotificationError{Notification: &message.Notification{Code: message.CodeUpdate, Subcode: 1}}
	for _, tt := range []struct {
		name  string
		off   bool
		open  func(*message.Open)
		event Event
		stale bool
	}{
		{"lost", false, graceful(false, false), Closed{1, nil}, true},
		{"lost, not agreed on", false, nil, Closed{1, nil}, false},
		{"lost, not ours", true, graceful(false, true), Closed{1, nil}, false},
		{"notification", false, graceful(false, false), Received{1, admin}, false},
		{"notification, N", false, graceful(false, true), Received{1, admin}, true},
		{"hard reset, N", false, graceful(false, true), Received{1, admin.Hard()}, false},
		{"our notification", false, graceful(false, false), Malformed{1, broken}, false},
		{"our notification, N", false, graceful(false, true), Malformed{1, broken}, true},
		{"send hold", false, graceful(false, false), SendBlocked{1}, false},
		{"send hold, N", false, graceful(false, true), SendBlocked{1}, true},
		{"hold", false, graceful(false, false), Tick{}, false},
		{"hold, N", false, graceful(false, true), Tick{}, true},
		{"stopped by us", false, graceful(false, true), Stop{Notification: admin}, false},
		{"abandoned by us", false, graceful(false, true), Stop{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params()
			p.Graceful.Enabled = !tt.off
			m := newMachine(t, p)
			m.establish(peerOpen(tt.open))
			if tt.event == (Tick{}) {
				m.now = m.now.Add(90 * time.Second)
			}
			got := m.on(tt.event)
			want := "stale[]"
			if tt.stale {
				want = "stale[ipv4]" // the neighbor's capability names no other
			}
			if !strings.Contains(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func TestStopIsAHardResetWhereRoutesWouldBeKept(t *testing.T) {
	p := params()
	p.Graceful.Enabled = true
	m := newMachine(t, p)
	m.establish(peerOpen(graceful(false, true)))
	m.want(Stop{Notification: message.Cease(message.AdministrativeShutdown, "bye")},
		`close 1 cease: hard reset (cease: administrative shutdown "bye"); down 1 sent cease: administrative shutdown "bye" stale[]`)
	if !m.Next().IsZero() {
		t.Error("goes on after Stop")
	}
	m.want(Accepted{2}, "close 2 cease: connection rejected")
	m.want(Start{}, "dial")
}

func TestRestartingIsSaidOnce(t *testing.T) {
	p := params()
	p.Graceful = Graceful{Enabled: true, Restarting: true, Preserved: true}
	m := newMachine(t, p)
	said := func(e Event) *message.GracefulRestart {
		var actions []Action
		m.State, actions = m.State.Handle(m.now, e)
		return actions[len(actions)-1].(Send).Msg.(*message.Open).Capabilities.Graceful
	}
	m.on(Start{})
	if g := said(Dialed{1}); !g.Restarting || !g.Notification || g.Time != 120*time.Second || !g.Preserved(route.IPv6) {
		t.Errorf("%+v", g)
	}
	m.on(Received{1, peerOpen(nil)})
	m.want(Received{1, message.Keepalive{}}, "up 1")
	m.on(Closed{1, nil})
	if g := said(Accepted{2}); g.Restarting {
		t.Error("R bit in a later session")
	}
}

func TestNeighborThatRestartedUnseen(t *testing.T) {
	withGR := func(g bool) *machine {
		p := params()
		p.Graceful.Enabled = g
		m := newMachine(t, p)
		m.establish(peerOpen(graceful(false, true)))
		return m
	}
	t.Run("its kernel resets the old connection", func(t *testing.T) {
		m := withGR(false)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(nil)}, "")
		m.want(Closed{1, errors.New("reset")}, "close 1; down 1 connection lost: reset stale[]; send 2 open; agreed 2; send 2 keepalive")
		m.want(Received{2, message.Keepalive{}}, "up 2")
	})
	t.Run("the old session is alive", func(t *testing.T) {
		m := withGR(false)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(nil)}, "")
		if d := m.sleep(); d != challengeTime {
			t.Error(d)
		}
		m.want(Tick{}, "close 2 cease: connection collision resolution")
		if m.Phase() != Established {
			t.Error(m.Phase())
		}
	})
	t.Run("it says that it restarts", func(t *testing.T) {
		m := withGR(true)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(true, true))},
			"close 1; down 1 neighbor connected anew stale[ipv4]; send 2 open; agreed 2; send 2 keepalive")
	})
	t.Run("it does not say so, but the session is old", func(t *testing.T) {
		m := withGR(true)
		m.now = m.now.Add(20 * time.Second)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(false, true))},
			"close 1; down 1 neighbor connected anew stale[ipv4]; send 2 open; agreed 2; send 2 keepalive")
	})
	t.Run("the echo of a collision of a neighbor that restarts", func(t *testing.T) {
		p := params()
		p.Graceful.Enabled = true
		m := newMachine(t, p)
		m.establish(peerOpen(graceful(true, true)))
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(true, true))}, "")
	})
	t.Run("it is the echo of a collision", func(t *testing.T) {
		m := withGR(true)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(false, true))}, "")
		m.want(Received{2, message.Cease(message.CollisionResolution, "")}, "close 2")
	})
}
