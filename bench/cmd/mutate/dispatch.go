package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// exempt are the fields whose contract test sees nothing of a kernel but that
// it returns, with the reason.
var exempt = map[string]string{
	"FMALoop": "it has no result: its registers are thrown away and only its time is used",
}

// isCandidates tells whether an assembly file holds experimental kernels. No
// level has them, and the tests of a level do not run them.
func isCandidates(path string) bool { return strings.HasPrefix(filepath.Base(path), "candidate_") }

// fieldsOf reads kernels/dispatch_<arch>.go and returns for each function of
// the package arch the fields of kernels.Set that it fills, by itself or from
// a function of that file.
func fieldsOf(path, arch string) (map[string][]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil, err
	}
	helpers := map[string]*ast.FuncDecl{}
	var sets *ast.FuncDecl
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			helpers[f.Name.Name] = f
			if f.Name.Name == "archSets" {
				sets = f
			}
		}
	}
	if sets == nil {
		return nil, fmt.Errorf("%s: no function archSets", path)
	}
	fields := map[string][]string{}
	var uses func(n ast.Node, field string)
	uses = func(n ast.Node, field string) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == arch {
					if name := n.Sel.Name; !slices.Contains(fields[name], field) {
						fields[name] = append(fields[name], field)
					}
					return false
				}
			case *ast.Ident:
				if f := helpers[n.Name]; f != nil {
					uses(f.Body, field)
				}
			}
			return true
		})
	}
	ast.Inspect(sets, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != len(a.Rhs) {
			return true
		}
		for i, left := range a.Lhs {
			if s, ok := left.(*ast.SelectorExpr); ok {
				uses(a.Rhs[i], s.Sel.Name)
			}
		}
		return true
	})
	return fields, nil
}
