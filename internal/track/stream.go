package track

import (
	"slices"
	"time"
)

// Stream is what became of the questions that are asked through a link in one family, probes and proofs: when the last one
// that was answered was sent, and those sent after it that were not. It is a value: each method returns the next one and
// leaves the receiver alone.
type Stream struct {
	Answered time.Time // when the last one with an answer was sent; zero: there was none
	lost     []question
}

type question struct {
	sent time.Time
	kind Question
}

// Question is a kind of question.
type Question uint8

// Questions.
const (
	ProbeAsked Question = iota
	ProofAsked
)

// Lost counts questions without an answer.
type Lost struct{ Probes, Proofs int }

// maxLost bounds what is kept: of a link that is dead for long the first ones matter.
const maxLost = 1000

// Answer takes the answer to a question. Results do not come in the order of the questions: one that was sent before it and
// is lost may be told of later, or has been.
func (s Stream) Answer(sent time.Time) Stream {
	if sent.Before(s.Answered) {
		return s
	}
	s.Answered = sent
	s.lost = slices.DeleteFunc(slices.Clone(s.lost), func(q question) bool { return !q.sent.After(sent) })
	return s
}

// Silence takes it that a question was not answered in its time.
func (s Stream) Silence(sent time.Time, kind Question) Stream {
	if sent.After(s.Answered) && len(s.lost) < maxLost {
		s.lost = append(slices.Clip(s.lost), question{sent, kind})
	}
	return s
}

// Lost counts the questions that were sent after the last one with an answer, and not after until.
func (s Stream) Lost(until time.Time) (n Lost) {
	for _, q := range s.lost {
		switch {
		case q.sent.After(until):
		case q.kind == ProofAsked:
			n.Proofs++
		default:
			n.Probes++
		}
	}
	return n
}

// Asks reports whether the stream ever had an answer: what was lost is counted from the last one.
func (s Stream) Asks() bool { return !s.Answered.IsZero() }
