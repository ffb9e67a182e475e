package engine

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// freeze has an engine hand over, as another process reads it.
func (f *fakes) freeze() (*Handover, func()) {
	f.t.Helper()
	h, thaw, err := f.engine.Freeze(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		f.t.Fatal(err)
	}
	var out Handover
	if err := json.Unmarshal(text, &out); err != nil {
		f.t.Fatal(err)
	}
	if err := out.Check(); err != nil {
		f.t.Fatal(err)
	}
	return &out, thaw
}

func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary, secondary := keyPrimary, SessionKey{"er/secondary", route.IPv4}
		f := start(t, site, Adopted{})
		f.tell(SessionUp{Key: primary, Ends: true}, announce(primary, "192.0.2.2", "13.64.0.0/16", "13.65.0.0/16"), SessionEndOfRIB{primary})
		if err := f.engine.Drain(f.ctx, "er/secondary", true, true); err != nil {
			t.Fatal(err)
		}
		f.tell(NeighborSeen{Index: 4, Address: netip.MustParseAddr("198.18.1.1"), State: kstate.NeighborFailed})
		before := f.engine.Snapshot()
		_, thaw := f.freeze()
		answered := make(chan struct{})
		go func() { f.engine.Query(f.ctx, func(*View) {}); close(answered) }()
		synctest.Wait()
		select {
		case <-answered:
			t.Error("an engine that stands still answered")
		default:
		}
		thaw()
		<-answered

		h, _ := f.freeze()
		f.end()
		g := start(t, site, Adopted{Routes: 5, Handover: h})
		after := g.engine.Snapshot()
		if after.Mode != plan.Hold || after.Waiting != 1 {
			t.Errorf("mode %s, %d sessions have more to say: the one that was down has not", after.Mode, after.Waiting)
		}
		for i := range after.Links {
			a, b := before.Links[i], after.Links[i]
			if a.Drained != b.Drained || a.Moved != b.Moved || a.Number != b.Number || !reflect.DeepEqual(a.Families[0].Track.Down, b.Families[0].Track.Down) || a.Carrier.Why != b.Carrier.Why {
				t.Errorf("link %+v became %+v", a, b)
			}
		}
		if a, b := before.Journal, after.Journal; len(b) <= len(a) || a[0].Text != b[0].Text || !strings.Contains(b[len(a)].Text, "took over") {
			t.Errorf("journal %+v became %+v", a, b)
		}

		// Connections of the dead link are looked at once the kernel is written, as the engine before may not have done.
		if got := strings.Join(g.flows, "; "); got != "" {
			t.Errorf("asked too early: %s", got)
		}

		// The neighbor is asked; what it began to say before means nothing.
		g.tell(SessionUp{Key: primary, Ends: true, Taken: true})
		if got := strings.Join(g.paused, "; "); got != "refresh er/primary" {
			t.Errorf("asked for %q", got)
		}
		g.tell(SessionEndOfRIB{primary}, SessionRefresh{Key: primary})
		if g.engine.Snapshot().Mode != plan.Hold {
			t.Error("the end of what another daemon had asked for was taken for the whole")
		}
		g.tell(SessionRefresh{Key: primary, Start: true}, announce(primary, "192.0.2.2", "13.64.0.0/16"), SessionRefresh{Key: primary})
		if s := g.engine.Snapshot(); s.Mode != plan.Full || !s.Links[0].Families[0].Complete {
			t.Errorf("mode %s, %+v", s.Mode, s.Links[0].Families[0])
		}
		g.applied()
		if got := strings.Join(g.flows, "; "); !strings.Contains(got, "flush 3") && !strings.Contains(got, "list 3") {
			t.Errorf("connections of the dead link: asked for %q", got)
		}
		// A session that comes up later is one like any other.
		g.tell(SessionUp{Key: secondary, Ends: true}, announce(secondary, "192.0.2.6", "13.64.0.0/16"), SessionEndOfRIB{secondary})
		if s := g.engine.Snapshot(); !s.Links[1].Families[0].Complete {
			t.Errorf("%+v", s.Links[1].Families[0])
		}
		g.end()
	})
}

// TestHandoverWithoutAnEnd: a neighbor that cannot say when it has said all again has as long as it needs to begin.
func TestHandoverWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary := keyPrimary
		f := start(t, site, Adopted{})
		f.tell(SessionUp{Key: primary}, announce(primary, "192.0.2.2", "13.64.0.0/16", "13.65.0.0/16"))
		time.Sleep(2 * quietTime)
		h, _ := f.freeze()
		f.end()
		g := start(t, site, Adopted{Routes: 5, Handover: h})
		g.tell(SessionUp{Key: primary, Taken: true}, announce(primary, "192.0.2.2", "13.64.0.0/16"))
		f.sleep(2 * quietTime)
		if m := g.engine.Snapshot().Mode; m != plan.Hold {
			t.Errorf("mode %s after half of what was known", m)
		}
		half, thaw := g.freeze() // yet another restart forgets nothing of what is expected
		if n := half.Links[0].Sessions[0].Received; n != 2 {
			t.Errorf("%d prefixes are expected, want 2", n)
		}
		thaw()
		g.tell(announce(primary, "192.0.2.2", "13.65.0.0/16"))
		f.sleep(quietTime + time.Second)
		if m := g.engine.Snapshot().Mode; m != plan.Full {
			t.Errorf("mode %s although all is there", m)
		}
		g.end()

		// One that has less to say now is waited for longer.
		g = start(t, site, Adopted{Routes: 5, Handover: h})
		g.tell(SessionUp{Key: primary, Taken: true}, announce(primary, "192.0.2.2", "13.64.0.0/16"))
		f.sleep(repeatTime + time.Second)
		if m := g.engine.Snapshot().Mode; m != plan.Full {
			t.Errorf("mode %s after %s", m, repeatTime)
		}
		g.end()
	})
}

func TestHandoverRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary := keyPrimary
		f := start(t, holding("5m"), Adopted{})
		f.tell(SessionUp{Key: primary, Ends: true}, announce(primary, "192.0.2.2", ten()...), SessionEndOfRIB{primary}, withdraw(primary, ten()[:8]...))
		if _, _, err := f.engine.Freeze(f.ctx); err == nil || !strings.Contains(err.Error(), "held") {
			t.Errorf("%v", err)
		}
		if err := f.engine.Query(f.ctx, func(*View) {}); err != nil {
			t.Error("it stands still all the same:", err)
		}
		f.end()
	})
	for want, h := range map[string]Handover{
		"no number":   {Numbers: map[string]route.Link{"er0": 0}},
		"link":        {Links: []LinkHandover{{Name: "x"}}},
		"journal":     {Journal: make([]JournalEntry, journalSize+1)},
		"learned":     {Learned: Learned{"er": {netip.MustParsePrefix("10.1.2.3/8")}}},
		"links, want": {Links: make([]LinkHandover, 300)},
	} {
		if err := h.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
