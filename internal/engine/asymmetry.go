package engine

import (
	"fmt"
	"time"

	"bothways/internal/flow"
)

// tellEvery keeps the journal from filling with one story.
const tellEvery = time.Minute

func (e *Engine) asymmetric(ev Asymmetric) {
	pair := [2]string{ev.Connection, ev.Reply}
	if last, ok := e.told[pair]; ok && e.now.Sub(last) < tellEvery {
		return
	}
	e.told[pair] = e.now
	a := ExplainPaths(e.isCircuit(ev.Connection), e.isCircuit(ev.Reply))
	e.note("asymmetry", ev.Connection, fmt.Sprintf("%d replies came by %s: %s", ev.Packets, ev.Reply, a))
}

func (e *Engine) isCircuit(path string) bool {
	for _, p := range e.cfg.Paths {
		if p.Name == path {
			return p.Provider.Circuit
		}
	}
	return false
}

// ExplainPaths is the likely cause in one sentence, with its remedy.
func ExplainPaths(connectionCircuit, replyCircuit bool) string {
	a := flow.Explain(connectionCircuit, replyCircuit)
	text := a.Cause + "; " + a.Remedy
	if a.Case != "" {
		text = "case " + a.Case + ": " + text
	}
	return text
}
