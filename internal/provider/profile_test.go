package provider

import (
	"slices"
	"testing"

	"bothways/internal/route"
)

func TestAzureNames(t *testing.T) {
	azure, ok := ByName("azure")
	if !ok {
		t.Fatal("no azure")
	}
	community := func(s string) route.Community {
		c, err := route.ParseCommunity(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rows := map[string][]string{
		"region/westeurope":        {"12076:51002", "12076:52002", "12076:53002", "12076:54002", "12076:55002"},
		"region/australiaeast":     {"12076:51015", "12076:52015", "12076:53015", "12076:54015", "12076:55015"},
		"storage/newzealandnorth":  {"12076:52059"},
		"service/exchange-online":  {"12076:5010"},
		"region/usgovvirginia":     {"12076:51105"},
		"service/gov-entra-id":     {"12076:5160"},
		"service/crm-online":       {"12076:5040"},
		"backup/australiacentral2": {"12076:55033"},
	}
	for name, want := range rows {
		got, ok := azure.Communities(name)
		var w []route.Community
		for _, s := range want {
			w = append(w, community(s))
		}
		if !ok || !slices.Equal(got, w) {
			t.Errorf("%s: %v, want %v", name, got, w)
		}
	}
	if _, ok := azure.Communities("region/atlantis"); ok {
		t.Error("region/atlantis is known")
	}
	if got := azure.Like("service/exchange"); !slices.Contains(got, "service/exchange-online") {
		t.Errorf("like exchange: %v", got)
	}
}

func TestEveryProfileIsFound(t *testing.T) {
	for _, n := range Names() {
		p, ok := ByName(n)
		if !ok || p.Name != n || p.Preference == 0 || p.Hold == 0 {
			t.Errorf("%s: %+v", n, p)
		}
	}
	if _, ok := ByName("oracle"); ok {
		t.Error("an unknown name gives a profile")
	}
}
