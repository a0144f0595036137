package arch

import (
	"go/ast"
	"go/build/constraint"
	"path"
	"slices"
	"strings"
)

// rule is one thing that the repository keeps to: check returns what breaks it in a file.
type rule struct {
	name  string
	check func(s source) []string
}

var rules = []rule{
	{"imports go down only", importsGoDown},
	{"packages are those of the architecture", packagesAreKnown},
	{"dependencies are those decided on", dependenciesAreDecided},
	{"the standard library's log is imported nowhere", noStandardLog},
	{"sockets live in replication, kafka and internal/wire", socketsLiveUpstairs},
	{"log and internal start no goroutine", noGoroutines},
	{"time is read through internal/clock", noTimeOfTheirOwn},
	{"unsafe is used by what talks to the system only", noUnsafe},
	{"differences between systems are files, not branches", systemsAreFiles},
}

// floors are the top-level folders that are packages of the module; a higher one may import a lower one. Folders on the
// same floor know nothing of each other.
var floors = map[string]int{
	"internal":    0,
	"log":         1,
	"partition":   2,
	"group":       3,
	"producer":    4,
	"consumer":    4,
	"replication": 5,
	"kafka":       6,
	"examples":    7,
}

// basement is what internal consists of.
var basement = []string{
	"arch", "batch", "clock", "compress", "control", "invariant", "journal", "mmap", "mutant", "quorum", "replica", "segment", "simulate", "txn", "vfs", "wire",
}

// apart are folders with a module of their own, which see the others as any user does.
var apart = []string{"benchmarks", ".ci"}

func importsGoDown(s source) (broken []string) {
	if s.in(apart...) {
		return nil
	}
	s.imports(func(spec *ast.ImportSpec, imported string) {
		rest, ours := strings.CutPrefix(imported, module+"/")
		if !ours {
			return
		}
		target := strings.Split(rest, "/")[0]
		from, known := floors[s.folder()]
		to, targetKnown := floors[target]
		switch {
		case !known || !targetKnown:
			broken = append(broken, s.at(spec, "%s imports %s, and one of them has no floor", s.folder(), target))
		case target != s.folder() && to >= from:
			broken = append(broken, s.at(spec, "%s must not import %s", s.dir(), imported))
		}
	})
	return broken
}

func packagesAreKnown(s source) []string {
	if s.in(apart...) {
		return nil
	}
	if _, known := floors[s.folder()]; !known {
		return []string{s.at(s.tree, "the architecture has no folder %q", s.folder())}
	}
	if parts := strings.Split(s.path, "/"); parts[0] == "internal" && (len(parts) < 3 || !slices.Contains(basement, parts[1])) {
		return []string{s.at(s.tree, "the architecture has no internal/%s", parts[1])}
	}
	return nil
}

// dependencies are the modules that users get with ours; of those true, in tests only.
var dependencies = map[string]bool{
	"golang.org/x/sys":                  false,
	"github.com/cespare/xxhash/v2":      false,
	"github.com/pierrec/lz4/v4":         false,
	"github.com/klauspost/compress":     false,
	"github.com/tidwall/wal":            false,
	"github.com/twmb/franz-go":          false,
	"github.com/xdg-go/scram":           false,
	"go.etcd.io/raft/v3":                false,
	"google.golang.org/protobuf":        false, // raft's messages are
	"github.com/stretchr/testify":       true,
	"pgregory.net/rapid":                true,
	"github.com/anishathalye/porcupine": true,
	"github.com/cockroachdb/datadriven": true,
}

// franz is where franz-go itself may be used; its message structs (kmsg) may be used everywhere.
const franz = "github.com/twmb/franz-go"

func dependenciesAreDecided(s source) (broken []string) {
	if s.in(apart...) {
		return nil
	}
	s.imports(func(spec *ast.ImportSpec, imported string) {
		if !strings.Contains(strings.Split(imported, "/")[0], ".") || within(imported, module) {
			return // the standard library, and ours
		}
		known, testsOnly := false, false
		for dependency, tests := range dependencies {
			if within(imported, dependency) {
				known, testsOnly = true, tests
			}
		}
		switch {
		case !known:
			broken = append(broken, s.at(spec, "%s is a new dependency: decide, then list it here", imported))
		case testsOnly && !s.isTest() && !isTestPackage(s.dir()):
			broken = append(broken, s.at(spec, "%s is for tests", imported))
		case within(imported, franz) && !within(imported, franz+"/pkg/kmsg") && !s.isTest() && !s.in("kafka"):
			broken = append(broken, s.at(spec, "%s is for kafka and for tests", imported))
		}
	})
	return broken
}

func within(imported, parent string) bool {
	return imported == parent || strings.HasPrefix(imported, parent+"/")
}

// isTestPackage tells packages that only tests import, such as partition/partitiontest.
func isTestPackage(dir string) bool { return strings.HasSuffix(dir, "test") }

func noStandardLog(s source) (broken []string) {
	s.imports(func(spec *ast.ImportSpec, imported string) {
		if imported == "log" {
			broken = append(broken, s.at(spec, "log is the name of ours; return errors, or count and call Events"))
		}
	})
	return broken
}

func socketsLiveUpstairs(s source) (broken []string) {
	if s.in("replication", "kafka", "internal/wire", "examples", "benchmarks", ".ci") {
		return nil
	}
	s.imports(func(spec *ast.ImportSpec, imported string) {
		if imported == "net" || within(imported, "net/http") || imported == "net/rpc" || imported == "crypto/tls" {
			broken = append(broken, s.at(spec, "%s knows nothing of sockets", s.folder()))
		}
	})
	return broken
}

// noGoroutines keeps simulation possible: what runs in the background are calls that partition's shell makes.
func noGoroutines(s source) (broken []string) {
	if s.isTest() || !s.in("log", "internal") || s.in("internal/wire") {
		return nil
	}
	ast.Inspect(s.tree, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.GoStmt:
			broken = append(broken, s.at(n, "starts a goroutine"))
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
				broken = append(broken, s.at(n, "starts a goroutine"))
			}
		}
		return true
	})
	return broken
}

var clockNames = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func noTimeOfTheirOwn(s source) (broken []string) {
	if s.isTest() || s.in("internal/clock", "examples") || s.in(apart...) {
		return nil
	}
	s.uses("time", func(node ast.Node, name string) {
		if slices.Contains(clockNames, name) {
			broken = append(broken, s.at(node, "time.%s: use the Clock", name))
		}
	})
	return broken
}

func noUnsafe(s source) (broken []string) {
	if s.in("internal/mmap") || s.in("internal/vfs") && isSystemFile(s) {
		return nil
	}
	s.imports(func(spec *ast.ImportSpec, imported string) {
		if imported == "unsafe" {
			broken = append(broken, s.at(spec, "unsafe"))
		}
	})
	return broken
}

func systemsAreFiles(s source) (broken []string) {
	if s.isTest() || s.in("examples") || s.in(apart...) {
		return nil
	}
	s.uses("runtime", func(node ast.Node, name string) {
		if name == "GOOS" {
			broken = append(broken, s.at(node, "branches on runtime.GOOS"))
		}
	})
	s.imports(func(spec *ast.ImportSpec, imported string) {
		if within(imported, "golang.org/x/sys") && !isSystemFile(s) {
			broken = append(broken, s.at(spec, "system calls in a file for all systems"))
		}
	})
	return broken
}

// isSystemFile tells files that are for some systems only, by their name or a build constraint.
func isSystemFile(s source) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
	for _, system := range []string{"linux", "darwin", "windows"} {
		if strings.HasSuffix(base, "_"+system) {
			return true
		}
	}
	for _, group := range s.tree.Comments {
		for _, comment := range group.List {
			if comment.Pos() < s.tree.Package && constraint.IsGoBuild(comment.Text) {
				return true
			}
		}
	}
	return false
}
