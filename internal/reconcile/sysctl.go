package reconcile

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"bothways/internal/kstate"
)

// waiting is the state of a guarded setting as long as the table that is wanted is not there.
const waiting = "waits for the nftables table"

// writeSysctls sets what is wanted once per change and per comparison. What cannot be set is a state that is shown, not
// an error that stops anything: in a namespace or a container many settings belong to somebody else. Guarded ones wait for
// the table.
func (r *Reconciler) writeSysctls(table bool) bool {
	table = table && r.rulesetDone != ""
	if slices.Equal(r.sysctls, r.sysctlsDone) {
		return true
	}
	r.sysctlStatus = nil
	for _, s := range r.sysctls {
		if s.Guarded && !table {
			r.sysctlStatus = append(r.sysctlStatus, SysctlStatus{s, waiting})
			continue
		}
		state := "set"
		if have, err := r.kernel.Sysctl(s.Key); err != nil || !satisfies(s, strings.Join(strings.Fields(have), " ")) {
			if err := r.kernel.SetSysctl(s.Key, s.Value); err != nil {
				state = "not settable here"
				if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
					state += ": " + err.Error()
				}
			}
		}
		r.sysctlStatus = append(r.sysctlStatus, SysctlStatus{s, state})
	}
	if table || !r.waits() {
		r.sysctlsDone = slices.Clone(r.sysctls)
	}
	return true
}

// unguard sets back what is guarded and not wanted any more. That comes before the table changes: what guards it stands as long as
// it is set, and the table says what was set to a daemon that comes after a crash in between.
func (r *Reconciler) unguard() {
	// Others read what was published.
	r.sysctlStatus = slices.DeleteFunc(slices.Clone(r.sysctlStatus), func(old SysctlStatus) bool {
		if !old.Guarded || r.wantsSysctl(old.Key) {
			return false
		}
		// What cannot be set back is no longer there, or was never set.
		_ = r.kernel.SetSysctl(old.Key, "0")
		return true
	})
}

func (r *Reconciler) waits() bool {
	return slices.ContainsFunc(r.sysctlStatus, func(s SysctlStatus) bool { return s.State == waiting })
}

func (r *Reconciler) wantsSysctl(key string) bool {
	return slices.ContainsFunc(r.sysctls, func(s kstate.Sysctl) bool { return s.Key == key })
}

// newlyGuarded reports whether a guarded setting is wanted that was not written yet.
func (r *Reconciler) newlyGuarded() bool {
	return slices.ContainsFunc(r.sysctls, func(s kstate.Sysctl) bool {
		return s.Guarded && !slices.ContainsFunc(r.sysctlStatus, func(old SysctlStatus) bool { return old.Key == s.Key && old.State != waiting })
	})
}

func satisfies(s kstate.Sysctl, have string) bool {
	if !s.AtLeast {
		return have == s.Value
	}
	h, err1 := strconv.Atoi(have)
	want, err2 := strconv.Atoi(s.Value)
	return err1 == nil && err2 == nil && h >= want
}
