package config

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"bothways/internal/nat"
	"bothways/internal/policy"
)

func readNoFile(string) ([]byte, error) { return []byte("secret1\n"), nil }

func TestReference(t *testing.T) {
	f, err := os.Open("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := Parse(f, "reference.yaml", readNoFile)
	if err != nil {
		t.Fatal(err)
	}
	primary := c.Paths[0].Links[0]
	switch {
	case c.Site != "melbourne" || c.ASN != 65010 || len(c.Paths) != 3:
		t.Errorf("site %q, asn %d, %d paths", c.Site, c.ASN, len(c.Paths))
	case string(primary.Password) != "secret1" || primary.Limit != (policy.Limit{Max: 20000, Warn: 80, Then: policy.LimitBlock}):
		t.Errorf("primary: %+v", primary)
	case len(c.Paths[0].Accept.Communities) != 7 || len(c.Paths[0].Accept.Prefixes) != 1:
		t.Errorf("accept: %+v", c.Paths[0].Accept)
	case c.Paths[0].NAT[0].Kind != nat.Prefix:
		t.Errorf("nat: %+v, want the longest network first", c.Paths[0].NAT)
	case !c.Paths[2].Links[0].AutoGateway || c.Paths[2].Links[0].BGP:
		t.Errorf("isp-b: %+v", c.Paths[2].Links[0])
	case !c.Steer[0].Drop || len(c.Steer[0].Use) != 2:
		t.Errorf("steer: %+v", c.Steer[0])
	case c.API != API{DefaultSocket, netip.MustParseAddrPort("127.0.0.1:8480")}:
		t.Errorf("api: %+v", c.API)
	case !c.Paths[1].Accept.All || c.Paths[1].Links[0].Limit.Then != policy.LimitRestart:
		t.Errorf("isp-a: %+v", c.Paths[1])
	}
	for _, finding := range Lint(c) {
		if finding.Severity == SeverityError {
			t.Errorf("the reference breaks a rule: %s", finding)
		}
	}
}

// TestReferenceNamesEveryKey holds the manual complete: every key that the parser knows stands in it.
func TestReferenceNamesEveryKey(t *testing.T) {
	manual, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`"([a-z0-9-]+)":\s+(?:func|only|p\.)`)
	n := 0
	for _, file := range []string{"parse.go", "path.go", "api.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range key.FindAllStringSubmatch(string(source), -1) {
			n++
			if m[1] != "gateway6" && !regexp.MustCompile(`(?m)(^|[\s{])`+m[1]+`:`).Match(manual) {
				t.Errorf("%s: key %q is not in reference.yaml", file, m[1])
			}
		}
	}
	if n < 35 {
		t.Errorf("found %d keys in the parser, the expression no longer fits it", n)
	}
	if !strings.Contains(string(manual), "gateway6") {
		t.Error("gateway6 is not in reference.yaml")
	}
}
