//go:build mutants

package mutant

var on Name

// On reports whether a bug is there.
func On(n Name) bool { return on == n }

// Set re-introduces one bug, None to have none. It must not be called while anything that may ask runs.
func Set(n Name) { on = n }
