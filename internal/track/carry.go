package track

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// A track goes from one daemon to the next as JSON, with all that its next verdict depends on: what is counted, the window
// of each target, and the back-off.

type carriedState struct {
	Down      bool      `json:",omitempty"`
	Seen      bool      `json:",omitempty"`
	Since     time.Time `json:",omitzero"`
	Why       string    `json:",omitempty"`
	Bad, Good int       `json:",omitempty"`
	GoodSince time.Time `json:",omitzero"`
}

type carriedTarget struct {
	Name    string
	State   State
	RTT     time.Duration
	Good    time.Time `json:",omitzero"`
	Loss    int
	Latency time.Duration
	Window  []carriedSample `json:",omitempty"`
}

type carriedSample struct {
	OK  bool
	RTT time.Duration
}

type carriedProbes struct {
	State      State
	Params     ProbeParams
	Targets    []Target  `json:",omitempty"`
	MetFrom    time.Time `json:",omitzero"`
	Level, Ups int       `json:",omitempty"`
}

// strictly reads a value that has no other keys than these.
func strictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// MarshalJSON implements json.Marshaler.
func (s State) MarshalJSON() ([]byte, error) {
	return json.Marshal(carriedState{s.Down, s.Seen, s.Since, s.Why, s.bad, s.good, s.goodSince})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *State) UnmarshalJSON(data []byte) error {
	var c carriedState
	if err := strictly(data, &c); err != nil {
		return err
	}
	if c.Bad < 0 || c.Good < 0 {
		return fmt.Errorf("track: counts %d and %d", c.Bad, c.Good)
	}
	*s = State{Down: c.Down, Seen: c.Seen, Since: c.Since, Why: c.Why, bad: c.Bad, good: c.Good, goodSince: c.GoodSince}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (t Target) MarshalJSON() ([]byte, error) {
	c := carriedTarget{Name: t.Name, State: t.State, RTT: t.RTT, Good: t.Good, Loss: t.Loss, Latency: t.Latency}
	for _, s := range t.window {
		c.Window = append(c.Window, carriedSample{s.ok, s.rtt})
	}
	return json.Marshal(c)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Target) UnmarshalJSON(data []byte) error {
	var c carriedTarget
	if err := strictly(data, &c); err != nil {
		return err
	}
	*t = Target{Name: c.Name, State: c.State, RTT: c.RTT, Good: c.Good, Loss: c.Loss, Latency: c.Latency}
	for _, s := range c.Window {
		t.window = append(t.window, sample{s.OK, s.RTT})
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s Probes) MarshalJSON() ([]byte, error) {
	return json.Marshal(carriedProbes{s.State, s.p, s.targets, s.metFrom, s.level, s.ups})
}

// maxLevel bounds the back-off: it is doubled a few times only.
const maxLevel = 64

// UnmarshalJSON implements json.Unmarshaler.
func (s *Probes) UnmarshalJSON(data []byte) error {
	var c carriedProbes
	if err := strictly(data, &c); err != nil {
		return err
	}
	if c.Level < 0 || c.Level > maxLevel || c.Ups < 0 {
		return fmt.Errorf("track: back-off %d after %d times up", c.Level, c.Ups)
	}
	*s = Probes{State: c.State, p: c.Params, targets: c.Targets, metFrom: c.MetFrom, level: c.Level, ups: c.Ups}
	return nil
}
