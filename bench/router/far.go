package router

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"bothways/bench/site"
)

// FarBFD is BFD at the neighbors, the same for every router that is measured: BIRD's, which has a thread of its own.
type FarBFD struct{ parts []*process }

// StartFarBFD runs it at all neighbors of a site.
func StartFarBFD(s *site.Site, interval time.Duration) (*FarBFD, error) {
	f := &FarBFD{}
	for _, p := range s.Peers {
		x := &process{}
		if err := x.begin("bfd"); err != nil {
			return nil, err
		}
		conf, err := x.file("bird.conf", fmt.Sprintf(`router id %s;
protocol device {}
protocol bfd { interface %q { interval %d ms; multiplier 3; }; neighbor %s dev %q local %s; }
`, p.Address, site.PeerDevice, interval.Milliseconds(), p.Router, site.PeerDevice, p.Address))
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(look("bird"), "-f", "-c", conf, "-s", filepath.Join(x.dir, "ctl"))
		ended, err := p.Space.Start(cmd)
		if err != nil {
			f.Stop()
			return nil, err
		}
		x.watch(cmd, ended)
		f.parts = append(f.parts, x)
	}
	return f, nil
}

// Up waits until the sessions of all neighbors are up.
func (f *FarBFD) Up(limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		up := 0
		for _, x := range f.parts {
			out, _ := exec.Command(look("birdc"), "-s", filepath.Join(x.dir, "ctl"), "show", "bfd", "sessions").CombinedOutput()
			if strings.Contains(string(out), " Up ") {
				up++
			}
		}
		if up == len(f.parts) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("bfd: %d of %d neighbors are up after %s", up, len(f.parts), limit)
		}
	}
}

// Stop ends it.
func (f *FarBFD) Stop() {
	for _, x := range f.parts {
		x.Kill()
	}
}
