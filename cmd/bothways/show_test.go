package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"

	v1 "bothways/internal/api/v1"
)

// TestRoutesByPage: however many are asked for, each route is there once, also where the pages meet in the middle of a prefix.
func TestRoutesByPage(t *testing.T) {
	const prefixes = 900
	var all []v1.Route
	for i := range prefixes {
		for _, link := range []string{"er/primary", "isp-a/main", "isp-b/main"} {
			all = append(all, v1.Route{Prefix: fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), Link: link})
		}
	}
	socket := filepath.Join(t.TempDir(), "api.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, limit := all, 1000
		if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
			limit = n
		}
		if after := r.URL.Query().Get("after"); after != "" {
			for seen := false; len(rest) > 0 && (!seen || rest[0].Prefix == after); rest = rest[1:] {
				seen = seen || rest[0].Prefix == after
			}
		}
		n := min(limit, len(rest))
		_ = json.NewEncoder(w).Encode(v1.Routes{Routes: rest[:n], More: n < len(rest)})
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })

	for _, limit := range []int{0, 1, 999, 1000, 1001, 1002, 1003, 2000, 2500, 3 * prefixes, 5000} {
		cmd := routesCommand(&socket)
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"-o", "json", "--limit", strconv.Itoa(limit)})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got v1.Routes
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want := all
		if limit > 0 {
			want = all[:min(limit, len(all))]
		}
		if len(got.Routes) != len(want) {
			t.Errorf("limit %d: %d routes, want %d", limit, len(got.Routes), len(want))
			continue
		}
		for i := range want {
			if got.Routes[i].Prefix != want[i].Prefix || got.Routes[i].Link != want[i].Link {
				t.Errorf("limit %d: route %d is %s by %s, want %s by %s", limit, i, got.Routes[i].Prefix, got.Routes[i].Link, want[i].Prefix, want[i].Link)
				break
			}
		}
	}
}
