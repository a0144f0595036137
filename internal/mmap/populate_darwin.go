package mmap

// dontFork does nothing: macOS has minherit for it, which golang.org/x/sys does not offer. A child gets the mapping
// until it executes another program.
func dontFork([]byte) error { return nil }

func populate(b []byte) error { return touch(b) }
