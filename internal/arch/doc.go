// Package arch holds the tests that keep the architecture: which package may import which, where sockets, goroutines,
// the clock and unsafe may be used; and those that keep the tables of Apache Kafka's rules, each with the tests that
// prove it (spec*_test.go). It has no code of its own. internal/ARCHITECTURE.md says why the rules are as they
// are; a test that fails here says which one was broken, by which file and line.
package arch
