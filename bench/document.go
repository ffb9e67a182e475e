package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bothways/bench/stat"
)

// benchCase is something that is measured.
type benchCase struct {
	name, title string
	run         func(*bench) []section
}

// section is a table with what has to be known to read it.
type section struct {
	text   string
	result *stat.Result
}

type done struct {
	benchCase
	sections []section
}

// document is a run.
type document struct {
	began    time.Time
	machine  machine
	rounds   int
	routes   int
	versions []string
	cases    []done
}

// machine is where it ran.
type machine struct {
	cpu, kernel, system string
	cores               int
	memory              int64
}

func thisMachine() machine {
	m := machine{cpu: "unknown processor", system: "unknown system", cores: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := after(string(b), "model name"); name != "" {
			m.cpu = name
		}
	}
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		m.system = strings.Trim(after(string(b), "PRETTY_NAME"), `"`)
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.memory = int64(info.Totalram) * int64(info.Unit)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// after is the value of the first line that begins with a key, behind ":" or "=".
func after(text, key string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:="))
		}
	}
	return ""
}

func (d document) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Results

Written by `+"`make bench`"+`; do not edit. All routers of a table were measured in this one run, a round of each in turn, with the same
neighbors, the same bytes and the same end. Values are medians with their range over the rounds; × is the multiple of the first row's
median. The senders, the receivers and the clock share the processors with the router, so the figures are of this machine and
good for comparing inside a table. A round in which the sender of packets stood still for more than 3 ms just before they had moved is measured again.

Begun %s, %d rounds, generated tables of %d routes: one attribute set per UPDATE, 60 sets per 1,000 routes, prefix lengths as in the
default-free zone.

| | |
|---|---|
| processor | %s, %d cores |
| memory | %.0f GiB |
| kernel | Linux %s |
| distribution | %s |
| versions | %s |

BIRD 2 has one thread for everything but BFD. OpenBGPD has no kernel table on Linux; GoBGP has none at all, and is
measured in one round only, as a round of it takes a minute. A router that is not in a table was not measured there.
`, d.began.UTC().Format("2006-01-02 15:04 MST"), d.rounds, d.routes, d.machine.cpu, d.machine.cores, float64(d.machine.memory)/(1<<30), d.machine.kernel, d.machine.system, strings.Join(d.versions, "; "))
	for _, c := range d.cases {
		fmt.Fprintf(&b, "\n## %s (`%s`)\n", c.title, c.name)
		for _, s := range c.sections {
			b.WriteString("\n")
			if s.text != "" {
				b.WriteString(s.text + "\n\n")
			}
			b.WriteString(s.result.Markdown())
		}
	}
	return b.String()
}
