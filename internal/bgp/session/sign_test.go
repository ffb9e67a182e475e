package session

import (
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
)

func TestSignOf(t *testing.T) {
	heard, ended := time.Unix(100, 0), time.Unix(109, 0)
	hold := fsm.Down{Sent: &message.Notification{Code: message.CodeHold}}
	for _, c := range []struct {
		name string
		down fsm.Down
		end  ending
		sign Sign
		at   time.Time
	}{
		{"a hold timer", hold, ending{heard: heard}, LastMessage, heard},
		{"a hold timer, taken over and silent since", hold, ending{}, NoSign, time.Time{}},
		{"a notification", fsm.Down{Received: message.Cease(message.AdministrativeShutdown, "")}, ending{heard: heard}, NotificationCame, heard},
		{"a connection that is closed", fsm.Down{}, ending{heard: heard, ended: ended, err: io.EOF}, ConnectionClosed, ended},
		{"a connection that is reset", fsm.Down{}, ending{heard: heard, ended: ended, err: &netError{syscall.ECONNRESET}}, ConnectionClosed, ended},
		{"a connection that the kernel gave up", fsm.Down{}, ending{heard: heard, ended: ended, err: &netError{syscall.ETIMEDOUT}}, LastMessage, heard},
		{"a write that failed", fsm.Down{}, ending{heard: heard}, LastMessage, heard},
		{"our own wish", fsm.Down{Sent: message.Cease(message.MaximumPrefixes, "")}, ending{own: true, heard: heard}, NoSign, time.Time{}},
		{"our own wish, and the neighbor's end", fsm.Down{}, ending{own: true, heard: heard, ended: ended, err: io.EOF}, NoSign, time.Time{}},
	} {
		if sign, at := signOf(c.down, c.end); sign != c.sign || !at.Equal(c.at) {
			t.Errorf("%s: sign %d at %v, want %d at %v", c.name, sign, at, c.sign, c.at)
		}
	}
}

type netError struct{ error }

func (e *netError) Unwrap() error { return e.error }

// TestDownHasItsSign ends a session in each way, and looks at what its end is measured from.
func TestDownHasItsSign(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(a, b *Session)
		sign Sign
	}{
		{"notification", func(_, b *Session) { b.Shutdown("") }, NotificationCame},
		{"close", func(_, b *Session) { b.Abandon() }, ConnectionClosed},
		{"pause", func(a, _ *Session) { a.Pause("no carrier") }, NoSign},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, ra, _ := connectedPair(t, nil)
				time.Sleep(time.Second)
				synctest.Wait()
				ra.take()
				c.end(a, b)
				synctest.Wait()
				down := downOf(t, ra)
				if down.Sign != c.sign {
					t.Fatalf("%+v, want sign %d", down, c.sign)
				}
				if want := map[bool]time.Time{false: down.At}[c.sign == NoSign]; !down.SignAt.Equal(want) {
					t.Errorf("the sign came at %v, want %v", down.SignAt, want)
				}
			})
		})
	}
}

// TestSilenceIsMeasuredFromTheLastMessage lets the hold timer end a session.
func TestSilenceIsMeasuredFromTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		p.drain()
		time.Sleep(7 * time.Second)
		if _, err := p.Write(message.Keepalive{}.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		last := time.Now()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		down := downOf(t, rec)
		if down.Sign != LastMessage || !down.SignAt.Equal(last) || down.At.Sub(down.SignAt) != 90*time.Second {
			t.Errorf("%+v, want the message at %v", down, last)
		}
	})
}

func downOf(t *testing.T, r *recorder) (down Down) {
	t.Helper()
	for _, e := range r.take() {
		if d, ok := e.(Down); ok {
			down = d
		}
	}
	if down.Name == "" {
		t.Fatal("no session ended")
	}
	return down
}
