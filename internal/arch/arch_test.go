// Package arch holds the test of who may import whom.
package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "bothways/internal/"

// mayImport lists, for every package under internal/, the packages under internal/ that it may import. A package that
// is not listed fails the test: a new one needs a line here, and a reviewer who agrees with its place.
var mayImport = map[string]string{
	// values
	"route":  "",
	"kstate": "route",
	"api/v1": "",
	"table":  "",

	// pure: the same input gives the same output
	"bgp/message": "route",
	"bgp/fsm":     "bgp/message route",
	"bfd/packet":  "",
	"bfd/fsm":     "bfd/packet",
	"track":       "route",
	"provider":    "route",
	"policy":      "route",
	"flow":        "route",
	"proof":       "",
	"rib":         "route policy",
	"fib":         "route rib kstate",
	"nat":         "route kstate flow",
	"plan":        "kstate",
	"config":      "route kstate provider policy nat track proof",

	// effects: each touches one outside world and decides nothing
	"bgp/session":       "bgp/fsm bgp/message route",
	"bfd/session":       "bfd/fsm bfd/packet",
	"probe":             "track",
	"handover":          "", // the wire between two processes: what goes over it belongs to who sends it
	"kernel/namespace":  "", // what the kernel effects share: a thread in the right network namespace
	"kernel/rtnl":       "kernel/namespace kstate route",
	"kernel/nft":        "kernel/namespace kstate route",
	"kernel/shape":      "kernel/namespace kstate",
	"kernel/conntrack":  "kernel/namespace flow route",
	"kernel/kerneltest": "kstate route", // for tests: no other line names it
	"kernel/netnstest":  "",             // for tests: no other line names it

	// loops: own changing state and time
	"engine":    "config route policy rib fib nat plan track kstate flow proof",
	"reconcile": "plan kstate",
	"linkwatch": "kstate route",
	"flowsweep": "flow kstate route",

	// surfaces: read published snapshots
	"api": "api/v1 engine reconcile kstate nat policy rib route track flow proof",
	// values that stand in snapshots, and the names of counters; nat and plan for their words alone
	"metrics": "api/v1 engine reconcile kstate nat plan route track flow",

	"arch": "",
	"e2e":  "", // tests only
}

// pure packages reach for no outside world, no clock, no lock and no log.
var pure = strings.Fields(`route kstate api/v1 bgp/message bgp/fsm bfd/packet bfd/fsm track provider policy flow proof rib fib nat plan config`)

var impure = strings.Fields(`context log log/slog math/rand math/rand/v2 net net/http
	os os/exec os/signal sync sync/atomic syscall unsafe golang.org/x/sys/unix
	github.com/mdlayher/netlink github.com/google/nftables github.com/vishvananda/netlink`)

// impureTime is what a pure package may not call: to it, time is an input.
var impureTime = strings.Fields(`Now Since Until Sleep After AfterFunc Tick NewTimer NewTicker`)

// lab is a world around the product: of the product it imports nothing but what a client may.
const lab = "lab"

func TestArch(t *testing.T) {
	seen := map[string]bool{}
	fset := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		// Reading the files here, rather than asking go list, keeps the test cache honest and covers every GOOS and
		// build tag.
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		allowed, listed := mayImport[name]
		if name == lab || strings.HasPrefix(name, lab+"/") {
			allowed, listed = "api api/v1 route", true
		}
		if !listed && !seen[name] {
			t.Errorf("%s: has no line in mayImport", name)
		}
		seen[name] = true
		isPure := slices.Contains(pure, name)
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			own, ok := strings.CutPrefix(imp, module)
			inLab := strings.HasPrefix(own, lab) && strings.HasPrefix(name, lab)
			if ok && !inLab && !slices.Contains(strings.Fields(allowed), own) {
				t.Errorf("%s: %s may not import %s", fset.Position(spec.Pos()), name, own)
			}
			if isPure && slices.Contains(impure, imp) {
				t.Errorf("%s: %s must stay pure: it may not import %s", fset.Position(spec.Pos()), name, imp)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				if isPure {
					t.Errorf("%s: go statement in a pure package", fset.Position(n.Pos()))
				}
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if isPure && ok && x.Name == "time" && slices.Contains(impureTime, n.Sel.Name) {
					t.Errorf("%s: time.%s in a pure package", fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range mayImport {
		if !seen[name] && name != "arch" {
			t.Errorf("mayImport names %s, which is gone", name)
		}
	}
}

// TestSize holds files under 500 lines, one noun each.
func TestSize(t *testing.T) {
	for _, root := range []string{"../../internal", "../../cmd", "../../bench"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if n := bytes.Count(text, []byte("\n")); n > 500 {
				t.Errorf("%s has %d lines, want at most 500", path, n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
