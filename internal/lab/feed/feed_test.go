package feed

import "testing"

func TestFeedsAreWhole(t *testing.T) {
	for name, want := range map[string]int{
		"public-peering-128": 128, "public-peering-v6": 88, "microsoft-peering": 13301, "isp-a": 318457, "isp-b": 323485,
	} {
		routes, err := Load(name, 12076)
		if err != nil {
			t.Fatal(err)
		}
		if len(routes) != want {
			t.Errorf("%s: %d routes, want %d", name, len(routes), want)
		}
	}
	routes, err := Load("public-peering-128", 12076)
	if err != nil {
		t.Fatal(err)
	}
	if r := routes[0]; len(r.Path) != 1 || r.Path[0] != 8075 || len(r.Communities) != 1 || r.Communities[0] != 12076<<16|53013 {
		t.Errorf("first route: %+v", r)
	}
	if _, err := Load("nothing", 1); err == nil {
		t.Error("an unknown feed loads")
	}
}
