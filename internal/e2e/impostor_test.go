package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"bothways/internal/handover"
)

// impostorStep names, in the environment, how far a process gets that is to take over from a daemon and does not.
const impostorStep = "BOTHWAYS_IMPOSTOR"

// impostor is such a process. It ends as if it were killed, or does worse.
func impostor(step string) {
	if step == "start" {
		os.Exit(3)
	}
	c, err := handover.Open(os.NewFile(3, "handover"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	version := 1
	if step == "version" {
		version = 99
	}
	c.Send(map[string]any{"Version": version})
	if step == "ready" {
		os.Exit(3)
	}
	var state json.RawMessage
	if _, err := c.Receive(&state); err != nil || step == "state" {
		os.Exit(3)
	}
	switch step {
	case "cannot":
		c.Send(map[string]any{"Error": "no room here"})
	case "can":
		c.Send(map[string]any{})
		os.Exit(3)
	case "mute":
		c.Send(map[string]any{})
	case "garbage":
		c.Send(map[string]any{"Yes": true})
	}
	time.Sleep(time.Minute) // to be killed
}
