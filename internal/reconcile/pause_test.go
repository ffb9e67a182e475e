package reconcile

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		f.r.Submit(f.batch().Batch)
		resume, err := f.r.Pause(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		written := len(f.kernel.Applied())
		if written == 0 || f.r.Status().Pending != 0 {
			t.Errorf("stands still with %d changes written, %d pending", written, f.r.Status().Pending)
		}
		// What others do meanwhile is not repaired, and nothing new is written.
		b := f.batch()
		b.Objects.Rules = nil
		b.Sequence++
		f.r.Submit(b.Batch)
		f.r.Hint()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(f.kernel.Applied()); n != 0 {
			t.Errorf("%d changes while it stands still", n)
		}
		resume()
		resume()
		synctest.Wait()
		if n := len(f.kernel.Applied()); n == 0 {
			t.Error("it does not go on")
		}

		// An end instead of a resume writes nothing.
		if _, err := f.r.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		b = f.batch()
		b.Sequence += 2
		f.r.Submit(b.Batch)
		f.stop()
		if n := len(f.kernel.Applied()); n != 0 {
			t.Errorf("%d changes at the end", n)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.r.Pause(ctx); err == nil {
			t.Error("a loop that has ended stands still")
		}
	})
}
