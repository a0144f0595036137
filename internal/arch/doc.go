// Package arch holds the tests that keep the architecture: which package may import which, where sockets, goroutines,
// the clock and unsafe may be used. It has no code of its own. internal/ARCHITECTURE.md says why the rules are as they
// are; a test that fails here says which one was broken, by which file and line.
package arch
