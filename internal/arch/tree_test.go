package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/partlog/partlog"

// source is one Go file of the repository, whatever its build constraints.
type source struct {
	path string // from the root of the repository, with slashes
	set  *token.FileSet
	tree *ast.File
}

func (s source) dir() string    { return path.Dir(s.path) }
func (s source) isTest() bool   { return strings.HasSuffix(s.path, "_test.go") }
func (s source) folder() string { return strings.Split(s.path, "/")[0] }

// in tells whether the file is in one of these folders or below.
func (s source) in(folders ...string) bool {
	for _, folder := range folders {
		if strings.HasPrefix(s.path, folder+"/") {
			return true
		}
	}
	return false
}

func (s source) at(node ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", s.path, s.set.Position(node.Pos()).Line) + fmt.Sprintf(format, args...)
}

// imports calls visit with every import.
func (s source) imports(visit func(spec *ast.ImportSpec, imported string)) {
	for _, spec := range s.tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err == nil { // the parser has checked it
			visit(spec, imported)
		}
	}
}

// named returns the name that a package goes by in the file, or "" if it is not imported.
func (s source) named(imported string) string {
	name := ""
	s.imports(func(spec *ast.ImportSpec, p string) {
		if p != imported {
			return
		}
		if name = path.Base(p); spec.Name != nil {
			name = spec.Name.Name
		}
	})
	return name
}

// uses calls visit with every mention of a name of an imported package.
func (s source) uses(imported string, visit func(node ast.Node, name string)) {
	pkg := s.named(imported)
	if pkg == "" {
		return
	}
	ast.Inspect(s.tree, func(node ast.Node) bool {
		if sel, ok := node.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == pkg {
				visit(sel, sel.Sel.Name)
			}
		}
		return true
	})
}

func parse(t *testing.T, name string, text any) source {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution|parser.ParseComments)
	require.NoError(t, err)
	return source{path: name, set: set, tree: tree}
}

// repository parses all Go files of the repository, those of its nested modules included.
func repository(t *testing.T) []source {
	t.Helper()
	root := "../.."
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	require.Contains(t, string(gomod), "module "+module+"\n")
	var all []source
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		all = append(all, parse(t, filepath.ToSlash(rel), text))
		return nil
	}))
	require.NotEmpty(t, all)
	return all
}
