package session

import (
	"compress/gzip"
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// recorded reads the UPDATEs of an MRT file (RFC 6396, section 4.4) that were sent with four-octet AS numbers.
func recorded(t *testing.T, name string) [][]byte {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for len(data) >= 12 {
		kind, sub, n := binary.BigEndian.Uint16(data[4:]), binary.BigEndian.Uint16(data[6:]), binary.BigEndian.Uint32(data[8:])
		rec := data[12 : 12+n]
		data = data[12+n:]
		if kind != 16 || sub != 4 { // BGP4MP_MESSAGE_AS4
			continue
		}
		size := 4
		if binary.BigEndian.Uint16(rec[10:]) == 2 {
			size = 16
		}
		msg := rec[12+2*size:]
		if typ, _, err := message.ParseHeader(msg, true); err == nil && typ == message.TypeUpdate {
			out = append(out, msg)
		}
	}
	return out
}

// TestRecordedUpdatesArriveWhole replays a quarter of an hour of a real collector through a session, and compares what
// the receiver was told with what the file says, prefix by prefix and in its order.
func TestRecordedUpdatesArriveWhole(t *testing.T) {
	messages := recorded(t, "../message/testdata/updates.20160811.1600.gz")
	if len(messages) < 10_000 {
		t.Fatalf("%d UPDATEs in the file", len(messages))
	}
	type step struct {
		prefix netip.Prefix
		path   string // empty: withdrawn
	}
	steps := func(updates []route.Update) (out []step) {
		for _, u := range updates {
			for _, p := range u.Withdrawn {
				out = append(out, step{prefix: p})
			}
			for _, p := range u.Announced {
				out = append(out, step{p, u.Attrs.Path.String() + " " + u.Attrs.NextHop.String()})
			}
		}
		return out
	}
	decoder := message.NewDecoder(message.Options{FourOctetAS: true, Extended: true, Families: route.Families()})
	var want []step
	for _, m := range messages {
		var r message.Result
		if _, err := decoder.Decode(m[message.HeaderLen:], &r); err != nil {
			t.Fatal(err)
		}
		want = append(want, steps(r.Updates)...)
	}
	synctest.Test(t, func(t *testing.T) {
		_, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		p.drain()
		for _, m := range messages {
			p.send(m)
		}
		synctest.Wait()
		var got []step
		for _, e := range rec.take() {
			switch e := e.(type) {
			case Updates:
				got = append(got, steps(e.Updates)...)
			case Down:
				t.Fatalf("the session ended: %s", e.Reason)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d steps arrived of %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("step %d is %+v, want %+v", i, got[i], want[i])
			}
		}
		t.Logf("%d UPDATEs, %d steps", len(messages), len(got))
	})
}
