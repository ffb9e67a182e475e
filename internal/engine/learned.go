package engine

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/route"
)

// Learned is, by path, what the path announced when it had last said everything. It outlives sessions and daemons, so that
// a rule still knows its destinations when the path is dead.
type Learned map[string][]netip.Prefix

// learnedPause lets a path finish what it has begun to say.
const learnedPause = time.Second

// maxLearned bounds what is kept of a path: more than any circuit announces, and far less than the Internet.
const maxLearned = 100_000

// ParseLearned reads what Learned.Bytes wrote.
func ParseLearned(data []byte) (Learned, error) {
	l := Learned{}
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("learned prefixes: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l Learned) check() error {
	for path, list := range l {
		if slices.ContainsFunc(list, func(p netip.Prefix) bool { return !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() }) {
			return fmt.Errorf("learned prefixes: one of %s is none", path)
		}
		if len(list) > maxLearned {
			return fmt.Errorf("learned prefixes: %d of %s, want at most %d", len(list), path, maxLearned)
		}
	}
	return nil
}

// Bytes is how it is kept.
func (l Learned) Bytes() []byte {
	data, err := json.Marshal(l)
	if err != nil {
		panic("engine: learned prefixes: " + err.Error())
	}
	return data
}

// learnedUsed reports whether a rule asks for what a path learned.
func (e *Engine) learnedUsed(path string) bool {
	for _, s := range e.cfg.Steer {
		if slices.Contains(s.Learned, path) {
			return true
		}
	}
	return false
}

// hearLearned has the set of a path looked at soon, when it may have changed and a rule asks for it.
func (e *Engine) hearLearned(l *link) {
	if e.learnedUsed(l.Path) {
		e.at(dueKey{"learned", SessionKey{Link: l.FullName()}}, learnedPause)
	}
}

// takeLearned takes over what a path announces, if all that it says is said.
func (e *Engine) takeLearned(l *link) {
	var now []netip.Prefix
	for _, f := range route.Families() {
		complete := false
		for _, x := range e.links {
			s := x.session[at(f)]
			if x.Path != l.Path || !x.speaks(f) || !s.up {
				continue
			}
			// One that has nothing to say yet, and need not say so, is nothing to wait for.
			if !s.complete || s.refreshing || s.sparing || e.tables[at(f)].table.Waits(x.number) {
				return
			}
			complete = true
		}
		if complete {
			now = append(now, e.tables[at(f)].table.Accepted(pathLinks(e.links, l.Path))...)
			continue
		}
		// Nobody speaks in this family now: what was said last still holds.
		for _, p := range e.learned[l.Path] {
			if route.FamilyOf(p.Addr()) == f {
				now = append(now, p)
			}
		}
	}
	if slices.Equal(now, e.learned[l.Path]) {
		return
	}
	if len(now) > maxLearned {
		e.note("steer", l.Path, fmt.Sprintf("announces %d prefixes, more than the %d that a rule can follow: the last set stays", len(now), maxLearned))
		return
	}
	e.note("steer", l.Path, fmt.Sprintf("learned/%s is now %d prefixes, was %d", l.Path, len(now), len(e.learned[l.Path])))
	next := Learned{}
	for path, list := range e.learned {
		next[path] = list
	}
	next[l.Path] = now
	e.learned, e.table = next, table{}
	e.deps.Store.Save(e.learned.Bytes())
	for _, t := range e.tables {
		e.rebuild(t)
	}
	e.replace = true
}
