package arch

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules hold in every Go file of the repository.
func TestArchitectureIsKept(t *testing.T) {
	all := repository(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, s := range all {
				for _, broken := range r.check(s) {
					t.Error(broken)
				}
			}
		})
	}
}

// A rule that finds nothing proves nothing unless it finds what it is there for.
func TestRulesFindWhatTheyAreThereFor(t *testing.T) {
	const ours = `"` + module + `/`
	for _, c := range []struct {
		check   func(source) []string
		path    string
		text    string
		breaks  int
		because string
	}{
		{importsGoDown, "log/a.go", `package log; import ` + ours + `partition"`, 1, "up"},
		{importsGoDown, "log/a_test.go", `package log; import ` + ours + `partition"`, 1, "up, in a test"},
		{importsGoDown, "internal/vfs/a.go", `package vfs; import ` + ours + `log"`, 1, "up from the basement"},
		{importsGoDown, "producer/a.go", `package producer; import ` + ours + `consumer"`, 1, "across"},
		{importsGoDown, "consumer/a.go", `package consumer; import ` + ours + `producer/txn"`, 1, "across"},
		{importsGoDown, "replication/a.go", `package replication; import ` + ours + `kafka"`, 1, "up"},
		{importsGoDown, "kafka/a.go", `package kafka; import ` + ours + `replication"`, 0, "down"},
		{importsGoDown, "consumer/a.go", `package consumer; import ` + ours + `group"`, 0, "down"},
		{importsGoDown, "partition/partitiontest/a.go", `package p; import (` + ours + `partition"; ` + ours + `internal/vfs")`, 0, "down, and within"},
		{importsGoDown, "log/a.go", `package log; import ` + ours + `examples/count"`, 1, "up"},
		{importsGoDown, "extra/a.go", `package extra; import ` + ours + `log"`, 1, "no floor"},
		{packagesAreKnown, "extra/a.go", `package extra`, 1, "unknown"},
		{packagesAreKnown, "a.go", `package partlog`, 1, "no root package"},
		{packagesAreKnown, "internal/util/a.go", `package util`, 1, "unknown"},
		{packagesAreKnown, "internal/a.go", `package internal`, 1, "unknown"},
		{packagesAreKnown, "internal/vfs/a.go", `package vfs`, 0, "known"},
		{packagesAreKnown, "benchmarks/a.go", `package main`, 0, "apart"},
		{dependenciesAreDecided, "log/a.go", `package log; import "github.com/x/y"`, 1, "unknown"},
		{dependenciesAreDecided, "log/a.go", `package log; import "github.com/stretchr/testify/require"`, 1, "for tests"},
		{dependenciesAreDecided, "log/a_test.go", `package log; import "github.com/stretchr/testify/require"`, 0, "a test"},
		{dependenciesAreDecided, "partition/partitiontest/a.go", `package p; import "pgregory.net/rapid"`, 0, "for tests"},
		{dependenciesAreDecided, "group/a.go", `package group; import "github.com/twmb/franz-go/pkg/kmsg"`, 0, "messages"},
		{dependenciesAreDecided, "group/a.go", `package group; import "github.com/twmb/franz-go/pkg/kgo"`, 1, "the client"},
		{dependenciesAreDecided, "log/a.go", `package log; import "encoding/binary"`, 0, "standard"},
		{noStandardLog, "benchmarks/a_test.go", `package main; import l "log"`, 1, "everywhere"},
		{noStandardLog, "log/a.go", `package log; import "log/slog"`, 0, "another"},
		{socketsLiveUpstairs, "partition/a.go", `package partition; import "net"`, 1, "a socket"},
		{socketsLiveUpstairs, "internal/wire/a.go", `package wire; import ("net"; "crypto/tls")`, 0, "its place"},
		{noGoroutines, "log/a.go", `package log; func f() { go f() }`, 1, "go"},
		{noGoroutines, "internal/vfs/a.go", `package vfs; func f() { wg.Go(f) }`, 1, "WaitGroup.Go"},
		{noGoroutines, "internal/vfs/a_test.go", `package vfs; func f() { go f() }`, 0, "a test"},
		{noGoroutines, "internal/wire/a.go", `package wire; func f() { go f() }`, 0, "sockets need them"},
		{noGoroutines, "partition/a.go", `package partition; func f() { go f() }`, 0, "the shell"},
		{noTimeOfTheirOwn, "log/a.go", `package log; import "time"; var x = time.Now()`, 1, "Now"},
		{noTimeOfTheirOwn, "log/a.go", `package log; import "time"; var now = time.Now`, 1, "Now, not called"},
		{noTimeOfTheirOwn, "group/a.go", `package g; import tm "time"; func f() { tm.Sleep(tm.Second) }`, 1, "under a name"},
		{noTimeOfTheirOwn, "log/a.go", `package log; import "time"; const d = time.Second`, 0, "a duration"},
		{noTimeOfTheirOwn, "internal/clock/a.go", `package clock; import "time"; var x = time.Now()`, 0, "its place"},
		{noTimeOfTheirOwn, "examples/a/a.go", `package main; import "time"; var x = time.Now()`, 0, "a program"},
		{noUnsafe, "internal/batch/a.go", `package batch; import "unsafe"`, 1, "unsafe"},
		{noUnsafe, "internal/vfs/mem.go", `package vfs; import "unsafe"`, 1, "for all systems"},
		{noUnsafe, "internal/vfs/sync_linux.go", `package vfs; import "unsafe"`, 0, "the system's"},
		{noUnsafe, "internal/mmap/a.go", `package mmap; import "unsafe"`, 0, "its place"},
		{systemsAreFiles, "log/a.go", `package log; import "runtime"; var x = runtime.GOOS`, 1, "a branch"},
		{systemsAreFiles, "log/a.go", `package log; import "golang.org/x/sys/unix"`, 1, "for all systems"},
		{systemsAreFiles, "log/a_unix.go", "//go:build unix\n\npackage log; import \"golang.org/x/sys/unix\"", 0, "constrained"},
	} {
		require.Len(t, c.check(parse(t, c.path, c.text)), c.breaks, "%s: %s: %s", c.because, c.path, c.text)
	}
}
