package stream

import (
	"net/netip"
	"testing"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// decoded reads a stream back by the project's decoder, and says whether it ended with the End-of-RIB of the family.
func decoded(t *testing.T, b []byte, f route.Family) ([]route.Update, bool) {
	t.Helper()
	d := message.NewDecoder(message.Options{Families: []route.Family{f}, FourOctetAS: true})
	var r message.Result
	for len(b) > 0 {
		kind, n, err := message.ParseHeader(b, false)
		if err != nil || kind != message.TypeUpdate {
			t.Fatalf("kind %v: %v", kind, err)
		}
		end, err := d.Decode(b[message.HeaderLen:n], &r)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
		if end != 0 {
			return r.Updates, end == f && len(b) == 0
		}
	}
	return r.Updates, false
}

func TestEncodedTablesReadBackAsTheyWere(t *testing.T) {
	for _, tt := range []struct {
		name    string
		table   Table
		nextHop string
		family  route.Family
	}{
		{"generated", Generate(20_000, 7, 64601, 1).WithDefault(netip.MustParsePrefix("0.0.0.0/0"), 64601), "192.0.2.2", route.IPv4},
		{"ipv6", Group([]netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8:1::/48")}, 7, 64601, 0), "2001:db8:9::2", route.IPv6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			updates, ended := decoded(t, Encode(tt.table, netip.MustParseAddr(tt.nextHop)), tt.family)
			if !ended {
				t.Error("no End-of-RIB at the end")
			}
			var got []netip.Prefix
			for _, u := range updates {
				if u.Attrs.NextHop.String() != tt.nextHop {
					t.Fatalf("next hop %s", u.Attrs.NextHop)
				}
				if first, _ := u.Attrs.Path.First(); first != 64601 {
					t.Fatalf("path %v", u.Attrs.Path)
				}
				got = append(got, u.Announced...)
			}
			want := tt.table.Prefixes()
			if len(got) != len(want) {
				t.Fatalf("%d prefixes, want %d", len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("prefix %d: %s, want %s", i, got[i], want[i])
				}
			}
		})
	}
}

func TestGenerate(t *testing.T) {
	a, b := Generate(50_000, 3, 64601, 0), Generate(50_000, 3, 64602, 1)
	if a.Len() != 50_000 {
		t.Fatalf("%d routes", a.Len())
	}
	if n := len(a); n < 2500 || n > 3500 {
		t.Errorf("%d attribute sets for 50,000 routes, want about 3,000", n)
	}
	seen, lengths, others := map[netip.Prefix]bool{}, map[int]int{}, b.Prefixes()
	for i, p := range a.Prefixes() {
		if p != p.Masked() || seen[p] || !usable(p) {
			t.Fatalf("prefix %s", p)
		}
		if q := others[i]; q != p {
			t.Fatalf("another neighbor announces %s in the place of %s", q, p)
		}
		seen[p] = true
		lengths[p.Bits()]++
	}
	if share := float64(lengths[24]) / 50_000; share < 0.55 || share > 0.63 {
		t.Errorf("%.2f of the prefixes are /24", share)
	}
	for i := range a {
		if len(b[i].Path) != len(a[i].Path)+1 {
			t.Fatalf("paths %v and %v", a[i].Path, b[i].Path)
		}
	}
}

func TestFeedsKeepTheirRoutes(t *testing.T) {
	a, err := Feed("isp-a", 2497, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Len(); n < 318_000 || n > 318_457 {
		t.Errorf("%d routes", n)
	}
	if len(a) > a.Len()/2 {
		t.Errorf("%d sets for %d routes: they are not shared", len(a), a.Len())
	}
	if _, err := Feed("nothing", 1, false); err == nil {
		t.Error("an unknown feed loads")
	}
}

func TestBest(t *testing.T) {
	p, q, r := netip.MustParsePrefix("1.0.0.0/24"), netip.MustParsePrefix("2.0.0.0/24"), netip.MustParsePrefix("3.0.0.0/24")
	best := Best([]Offer{
		{Table: Table{{Path: []uint32{1, 2, 3}, Prefixes: []netip.Prefix{p, q, r}}}},
		{Table: Table{{Path: []uint32{4, 5}, Prefixes: []netip.Prefix{q}}, {Path: []uint32{4, 5}, PathSet: []uint32{6, 7}, Prefixes: []netip.Prefix{r}}}},
		{Table: Table{{Path: []uint32{8, 8, 8, 8}, Prefixes: []netip.Prefix{p}}}, Preferred: true},
	})
	if best[p] != 2 || best[q] != 1 || best[r] != 0 {
		t.Errorf("got %v", best)
	}
}

func TestRecordedUpdatesReadBack(t *testing.T) {
	b, err := Recorded("../../internal/bgp/message/testdata/updates.20160811.1600.gz", 64601, netip.MustParseAddr("192.0.2.2"))
	if err != nil {
		t.Fatal(err)
	}
	updates, _ := decoded(t, b, route.IPv4)
	announced, withdrawn := 0, 0
	for _, u := range updates {
		announced += len(u.Announced)
		withdrawn += len(u.Withdrawn)
		if len(u.Announced) == 0 {
			continue
		}
		if first, _ := u.Attrs.Path.First(); first != 64601 || u.Attrs.NextHop.String() != "192.0.2.2" {
			t.Fatalf("path %v, next hop %s", u.Attrs.Path, u.Attrs.NextHop)
		}
	}
	if announced < 20_000 || withdrawn < 500 {
		t.Errorf("%d announced and %d withdrawn, want those of the file", announced, withdrawn)
	}
	if _, err := Recorded("nothing", 1, netip.Addr{}); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestIPv6IsWhole(t *testing.T) {
	list, err := IPv6()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 160_147 {
		t.Errorf("%d prefixes", len(list))
	}
	for _, p := range list {
		if !p.Addr().Is6() || p != p.Masked() {
			t.Fatalf("prefix %s", p)
		}
	}
}
