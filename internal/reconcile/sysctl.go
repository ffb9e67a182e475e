package reconcile

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"bothways/internal/kstate"
)

// writeSysctls sets what is wanted once per change and per comparison. What cannot be set is a state that is shown, not
// an error that stops anything: in a namespace or a container many settings belong to somebody else.
func (r *Reconciler) writeSysctls() bool {
	if slices.Equal(r.sysctls, r.sysctlsDone) {
		return true
	}
	r.sysctlStatus = nil
	for _, s := range r.sysctls {
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
	r.sysctlsDone = slices.Clone(r.sysctls)
	return true
}

func satisfies(s kstate.Sysctl, have string) bool {
	if !s.AtLeast {
		return have == s.Value
	}
	h, err1 := strconv.Atoi(have)
	want, err2 := strconv.Atoi(s.Value)
	return err1 == nil && err2 == nil && h >= want
}
