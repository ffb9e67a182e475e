package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/config"
	"bothways/internal/engine"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/reconcile"
	"bothways/internal/route"
)

const file = `site: s
asn: 65010
router-id: 203.0.113.1
inside: {interfaces: [lan0], networks: [10.20.0.0/16]}
paths:
  er:
    provider: azure
    peering: public
    links:
      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}
    accept: [all]
    announce: [198.51.100.64/28]
    nat: {10.20.0.0/16: 198.51.100.64/28}
  isp:
    provider: internet
    links:
      main: {interface: wan0, address: 198.18.1.2/30, gateway: 198.18.1.1}
    nat: {10.20.0.0/16: interface}
steer:
  - {name: pin, to: [4.0.0.7/32], use: [isp], otherwise: drop}
`

// outside takes everything that the engine says and does nothing.
type outside struct{}

func (outside) Configure([]engine.SessionParams)        {}
func (outside) Refuse(engine.SessionKey, time.Duration) {}
func (outside) Pause(engine.SessionKey, string)         {}
func (outside) Resume(engine.SessionKey)                {}
func (outside) Refresh(engine.SessionKey)               {}
func (outside) Room() []kstate.RouteChange              { return nil }
func (outside) Submit(plan.Batch)                       {}
func (outside) Set([]engine.Watched)                    {}
func (outside) Pin([]netip.Addr)                        {}
func (outside) Flush(flow.Mark)                         {}
func (outside) List(flow.Mark)                          {}
func (outside) Use(flow.Mark, int)                      {}
func (outside) Sample(flow.Mark, int)                   {}
func (outside) Prove(engine.ProofParams)                {}
func (outside) Delete(flow.Mark, []flow.Flow)           {}
func (outside) Save([]byte)                             {}
func (outside) Detect([]engine.DetectParams)            {}
func (outside) Probe([]engine.ProbeLink)                {}

// serve runs a server over a small site that has learned two prefixes, and returns a client of it.
func serve(t *testing.T) *Client { return serveWith(t, func(*engine.Engine, *Deps) {}) }

// serveWith is serve over what change makes of it.
func serveWith(t *testing.T, change func(*engine.Engine, *Deps)) *Client {
	t.Helper()
	c, err := config.Parse(strings.NewReader(file), "f.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	now := engine.Interfaces{All: []kstate.Interface{{Index: 2, Name: "er0", Carrier: true}, {Index: 3, Name: "wan0", Carrier: true}}}
	e := engine.New(c, engine.Adopted{}, now, engine.Deps{Speaker: outside{}, Kernel: outside{}, Watch: outside{}, Flows: outside{},
		Store: outside{}, BFD: outside{}, Probes: outside{}, Proofs: outside{}, Log: slog.New(slog.DiscardHandler)})
	ctx := t.Context()
	go e.Run(ctx)
	key := engine.SessionKey{Link: "er/primary", Family: route.IPv4}
	e.Tell(ctx, engine.SessionUp{Key: key, Ends: true})
	e.Tell(ctx, engine.SessionUpdates{Key: key, Updates: []route.Update{{Family: route.IPv4,
		Announced: []netip.Prefix{netip.MustParsePrefix("4.0.0.0/8"), netip.MustParsePrefix("5.0.0.0/8"), netip.MustParsePrefix("10.20.1.0/24")},
		Attrs:     &route.Attrs{Path: route.SequencePath(12076), NextHop: netip.MustParseAddr("192.0.2.2"), Communities: []route.Community{12076<<16 | 51004}}}}})
	e.Tell(ctx, engine.SessionEndOfRIB{Key: key})
	if err := e.Query(ctx, func(*engine.View) {}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	deps := Deps{
		Engine: e, Kernel: func() reconcile.Status { return reconcile.Status{Routes: 7} },
		Sessions: func() []v1.Session { return []v1.Session{{Link: "er/primary", Family: "ipv4"}} },
		Counters: func(context.Context) (map[string]kstate.Counter, error) {
			return map[string]kstate.Counter{"asymmetry/isp/er": {Packets: 3}, "asymmetry/er/isp": {}, "related/isp/er": {Packets: 2}, "related/er/isp": {}, "guard_leak": {Packets: 1}}, nil
		},
		Addresses: func(_ context.Context, set string) ([]netip.Addr, error) {
			if set == "asymmetry/isp/er/ipv4" {
				return []netip.Addr{netip.MustParseAddr("4.0.0.7")}, nil
			}
			return nil, nil
		},
		Flows: func(_ context.Context, f route.Family, value, _ uint32) ([]flow.Flow, error) {
			if f != route.IPv4 || value != 1 {
				return nil, nil
			}
			dst := netip.MustParseAddrPort("5.0.0.1:443")
			return []flow.Flow{{Destination: dst}, {Destination: dst, Answered: true}}, nil
		},
		Reload: func(context.Context) error { return errors.New("f.yaml:1: nonsense") },
		Stop:   func(v1.Stop) {}, Version: v1.Version{Version: "test"}, Log: slog.New(slog.DiscardHandler),
	}
	change(e, &deps)
	go Serve(ctx, ln, deps)
	return NewClient(socket)
}

func get[T any](t *testing.T, c *Client, what string, q url.Values) T {
	t.Helper()
	var v T
	if err := c.Get(t.Context(), what, q, &v); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// TestAsymmetryIsBounded holds that an answer about all connections has an end, which says what is not there: the destinations with most
// that are not answered come first.
func TestAsymmetryIsBounded(t *testing.T) {
	const more = 7
	host := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{6, byte(i >> 8), byte(i), 1}) }
	c := serveWith(t, func(e *engine.Engine, d *Deps) {
		var prefixes []netip.Prefix
		var flows []flow.Flow
		for i := range maxOneWay + more {
			prefixes = append(prefixes, netip.PrefixFrom(host(i), 24).Masked())
			flows = append(flows, flow.Flow{Destination: netip.AddrPortFrom(host(i), 443)})
		}
		flows = append(flows, flow.Flow{Destination: netip.AddrPortFrom(host(maxOneWay), 444)})
		e.Tell(t.Context(), engine.SessionUpdates{Key: engine.SessionKey{Link: "er/primary", Family: route.IPv4}, Updates: []route.Update{{Family: route.IPv4, Announced: prefixes,
			Attrs: &route.Attrs{Path: route.SequencePath(12076), NextHop: netip.MustParseAddr("192.0.2.2"), Communities: []route.Community{12076<<16 | 51004}}}}})
		if err := e.Query(t.Context(), func(*engine.View) {}); err != nil {
			t.Fatal(err)
		}
		d.Flows = func(_ context.Context, f route.Family, value, _ uint32) ([]flow.Flow, error) {
			if f != route.IPv4 || value != 1 {
				return nil, nil
			}
			return flows, nil
		}
		d.Addresses = func(_ context.Context, set string) (out []netip.Addr, err error) {
			for i := range maxRemotes + more {
				if set == "asymmetry/isp/er/ipv4" {
					out = append(out, host(i))
				}
			}
			return out, nil
		}
	})
	a := get[v1.Asymmetry](t, c, "asymmetry", nil)
	if len(a.OneWay) != maxOneWay || a.OneWayMore != more || a.OneWay[0].Unanswered != 2 {
		t.Errorf("%d destinations, %d more, the first %+v", len(a.OneWay), a.OneWayMore, a.OneWay[0])
	}
	if len(a.Pairs) != 1 || len(a.Pairs[0].Remotes) != maxRemotes || a.Pairs[0].RemotesMore != more {
		t.Errorf("pairs %+v", a.Pairs)
	}
}

func TestAnswers(t *testing.T) {
	c := serve(t)
	if v := get[v1.Version](t, c, "version", nil); v.Version != "test" {
		t.Errorf("version %+v", v)
	}
	if s := get[v1.Status](t, c, "status", nil); s.Kernel.Routes != 7 || s.Prefixes.IPv4 != 4 {
		t.Errorf("status %+v", s)
	}
	if p := get[[]v1.Path](t, c, "paths", nil); len(p) != 2 || p[0].State != "up" || p[0].Accepted != 2 {
		t.Errorf("paths %+v", p)
	}
	if l := get[[]v1.Link](t, c, "links", nil); len(l) != 2 || l[0].BGP != "established" || l[1].BGP != "none" {
		t.Errorf("links %+v", l)
	}
	if s := get[[]v1.Session](t, c, "sessions", nil); len(s) != 1 || s[0].Received != 3 || s[0].Accepted != 2 {
		t.Errorf("sessions %+v", s)
	}
	if k := get[[]v1.Track](t, c, "tracks", nil); len(k) != 4 || k[0].Kind != "carrier" || k[0].State != "up" {
		t.Errorf("tracks %+v", k)
	}
	if r := get[v1.Rankings](t, c, "rankings", nil); len(r.Rankings) == 0 || len(r.Steer) != 1 || r.Steer[0].Using[0] != "isp/main" {
		t.Errorf("rankings %+v", r)
	}
	if n := get[v1.Translation](t, c, "nat", nil); len(n.NAT) != 2 || n.NAT[0].To != "198.51.100.64/28" || len(n.Guards) != 1 || n.Guards[0].Name != "guard_leak" {
		t.Errorf("nat %+v", n)
	}
	if a := get[v1.Asymmetry](t, c, "asymmetry", nil); len(a.Pairs) != 1 || a.Pairs[0].Case != "B" || len(a.Pairs[0].Remotes) != 1 ||
		len(a.OneWay) != 1 || a.OneWay[0] != (v1.OneWay{Path: "er", Destination: "5.0.0.0/8", Unanswered: 1, All: 2}) ||
		len(a.Related) != 1 || a.Related[0] != (v1.RelatedPair{Connection: "isp", Error: "er", Packets: 2}) {
		t.Errorf("asymmetry %+v", a)
	}
	if e := get[[]v1.Event](t, c, "events", nil); len(e) == 0 {
		t.Error("no events")
	}
}

func TestRoutes(t *testing.T) {
	c := serve(t)
	all := get[v1.Routes](t, c, "routes", nil)
	if len(all.Routes) != 3 || all.More || all.Routes[0].Prefix != "0.0.0.0/0" || all.Routes[1].Communities[0] != "12076:51004" {
		t.Errorf("routes %+v", all)
	}
	if r := get[v1.Routes](t, c, "routes", url.Values{"rejected": {"true"}}); len(r.Routes) != 1 || r.Routes[0].Rejected != "equals or lies inside an own prefix" {
		t.Errorf("rejected %+v", r)
	}
	one := get[v1.Routes](t, c, "routes", url.Values{"prefix": {"4.0.0.7"}})
	if len(one.Routes) != 2 || one.Answer == nil || one.Answer.Steer != "pin" || one.Answer.Match != "4.0.0.0/8" || one.Answer.Using[0] != "isp/main" {
		t.Errorf("one destination: %+v %+v", one, one.Answer)
	}
	page := get[v1.Routes](t, c, "routes", url.Values{"limit": {"2"}})
	rest := get[v1.Routes](t, c, "routes", url.Values{"after": {page.Routes[1].Prefix}})
	if len(page.Routes) != 2 || !page.More || len(rest.Routes) != 1 {
		t.Errorf("pages %+v, %+v", page, rest)
	}
	for q, want := range map[string]string{"prefix": "want a prefix or an address", "limit": "want 1 to 1000", "family": "want ipv4 or ipv6", "link": "no link x"} {
		var v json.RawMessage
		if err := c.Get(t.Context(), "routes", url.Values{q: {"x"}}, &v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=x: %v", q, err)
		}
	}
}

func TestRequests(t *testing.T) {
	c := serve(t)
	if err := c.Post(t.Context(), "reload", struct{}{}); err == nil || err.Error() != "f.yaml:1: nonsense" {
		t.Errorf("reload: %v", err)
	}
	if err := c.Post(t.Context(), "drain", v1.Drain{Link: "nope", On: true}); err == nil || !strings.Contains(err.Error(), "no link nope") {
		t.Errorf("drain: %v", err)
	}
	for _, path := range []string{"drain", "stop"} {
		if err := c.Post(t.Context(), path, map[string]any{"lnik": "er/primary"}); err == nil || !strings.Contains(err.Error(), "lnik") {
			t.Errorf("%s with an unknown key: %v", path, err)
		}
	}
	if err := c.Post(t.Context(), "drain", v1.Drain{Link: "er/primary", On: true}); err != nil {
		t.Error(err)
	}
	if err := c.Post(t.Context(), "stop", v1.Stop{}); err != nil {
		t.Error(err)
	}
	if err := NewClient(filepath.Join(t.TempDir(), "none")).Get(t.Context(), "status", nil, &struct{}{}); err == nil || !strings.Contains(err.Error(), "no daemon answers at") {
		t.Errorf("without a daemon: %v", err)
	}
}
