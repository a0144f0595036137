package partition_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

// The kill loop: a child process appends to a store on real files and reports what was acknowledged; it is killed with
// SIGKILL at any moment, its open and its recovery included, and what it had reported has to be there. A killed
// process loses nothing that is in the page cache, so that this holds in every mode.

const (
	childEnv        = "PARTLOG_TEST_CHILD" // the store's directory: this process is the child
	childModeEnv    = "PARTLOG_TEST_CHILD_MODE"
	childPartitions = 3
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := runChild(dir, os.Getenv(childModeEnv), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childBatch is what the child appends at an offset: its bytes follow from where it is.
func childBatch(w *batch.Builder, p int32, at partition.Offset) []byte {
	w.Reset(nil, batch.Options{})
	rng := rand.New(rand.NewPCG(uint64(p), uint64(at)))
	for i := range 1 + rng.IntN(3) {
		value := make([]byte, 10+rng.IntN(400))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		w.Append(tortureEpoch.UnixMilli()+int64(at)+int64(i), fmt.Appendf(nil, "%d-%d", p, at), value, nil)
	}
	b, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

func childConfig(mode string) partition.Config {
	modes := map[string]partition.SyncMode{"always": partition.SyncAlways, "never": partition.SyncNever, "interval": partition.SyncInterval(5 * time.Millisecond)}
	return partition.Config{
		Sync: modes[mode], CheckpointInterval: 3 * time.Millisecond,
		Topics: partition.TopicConfig{Partitions: childPartitions, Extra: map[string]string{"internal.segment.bytes": "20000"}, IndexIntervalBytes: 1000},
	}
}

// runChild appends until it is killed. Every acknowledged batch is twelve bytes on out: partition and next offset.
func runChild(dir, mode string, out io.Writer) error {
	s, err := partition.Open(dir, childConfig(mode))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	topic, err := s.Topic("t")
	if err != nil {
		if topic, err = s.CreateTopic(context.Background(), "t", partition.TopicConfig{}); err != nil {
			return fmt.Errorf("create topic: %w", err)
		}
	}
	var mu sync.Mutex // one write at a time, of less than a pipe's atomic size
	errs := make(chan error)
	for i := range int32(childPartitions) {
		p, err := topic.Partition(i)
		if err != nil {
			return err
		}
		next, err := p.HighWatermark()
		if err != nil {
			return err
		}
		go func() {
			var w batch.Builder
			for {
				r, err := p.Append(context.Background(), childBatch(&w, i, next), partition.AcksAll)
				if err == nil && r.BaseOffset != next {
					err = fmt.Errorf("partition %d: append got offset %d, want %d", i, r.BaseOffset, next)
				}
				if err != nil {
					errs <- err
					return
				}
				next += partition.Offset(w.Count())
				var line [12]byte
				binary.BigEndian.PutUint32(line[:], uint32(i))
				binary.BigEndian.PutUint64(line[4:], uint64(next))
				mu.Lock()
				_, err = out.Write(line[:])
				mu.Unlock()
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

// killRound runs the child once and kills it after so many reports; without any after it has looked at the store's lock
// so many times, once that is there: most likely in its open.
func killRound(t *testing.T, dir, mode string, reports, looks int, acked *[childPartitions]partition.Offset) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir, childModeEnv+"="+mode)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	in := bufio.NewReader(pipe)
	killed := false
	if reports == 0 {
		for looks >= 0 {
			if _, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
				looks--
			}
		}
		require.NoError(t, cmd.Process.Kill())
		killed = true
	}
	for n := 0; ; n++ {
		if n >= reports && !killed {
			require.NoError(t, cmd.Process.Kill())
			killed = true
		}
		var line [12]byte
		if _, err := io.ReadFull(in, line[:]); err != nil {
			break // what was reported before its death has all been read
		}
		p := binary.BigEndian.Uint32(line[:])
		acked[p] = max(acked[p], partition.Offset(binary.BigEndian.Uint64(line[4:])))
	}
	_ = cmd.Wait()
	require.True(t, killed, "the child has ended by itself")
}

// killCheck opens the store and reads it: every record is the one that belongs to its place, up to what was acknowledged.
func killCheck(t *testing.T, dir, mode string, acked *[childPartitions]partition.Offset) {
	s, err := partition.Open(dir, childConfig(mode))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	if report := s.RecoveryReport(); report != nil {
		require.Empty(t, report.Failed)
	}
	topic, err := s.Topic("t")
	if err != nil {
		require.Zero(t, *acked, "the topic has gone: %v", err)
		return
	}
	var w batch.Builder
	for i := range int32(childPartitions) {
		p, err := topic.Partition(i)
		require.NoError(t, err)
		at := partition.Offset(0)
		for {
			chunk, next, err := p.ReadCopy(nil, at, 1<<20)
			require.NoError(t, err, "partition %d at %d", i, at)
			if len(chunk) == 0 {
				break
			}
			for len(chunk) > 0 {
				b, err := batch.Peek(chunk)
				require.NoError(t, err)
				want := ledgerBatch{base: at, bytes: childBatch(&w, i, at)}
				require.NoError(t, same(b, &want), "partition %d", i)
				chunk, at = chunk[len(b):], partition.Offset(b.NextOffset())
			}
			require.Equal(t, next, at)
		}
		require.GreaterOrEqual(t, at, acked[i], "partition %d: acknowledged records are lost", i)
	}
	v, err := s.Verify(t.Context())
	require.NoError(t, err)
	require.False(t, v.Damaged(), "%+v", *v)
}

func TestKilledProcessHasLostNothingItAcknowledged(t *testing.T) {
	rounds, limit := 8, soak(t)
	if testing.Short() {
		rounds = 3
	}
	for _, mode := range []string{"always", "interval", "never"} {
		t.Run(mode, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			dir := filepath.Join(t.TempDir(), "store")
			var acked [childPartitions]partition.Offset
			began := time.Now()
			n := 0
			for ; n < rounds || time.Since(began) < limit/3; n++ {
				reports := rng.IntN(400)
				if n%4 == 1 {
					reports = 0
				}
				killRound(t, dir, mode, reports, rng.IntN(20_000), &acked)
				killRound(t, dir, mode, rng.IntN(3), rng.IntN(20_000), &acked) // and again, in or soon after the recovery
				if n%2 == 0 {
					killCheck(t, dir, mode, &acked)
				}
			}
			killCheck(t, dir, mode, &acked)
			t.Logf("%d kills, acknowledged up to %v, 0 lost", 2*n, acked)
		})
	}
}

// A store whose process was killed is opened while nobody holds its lock; the lock was released by the kernel.
func TestLockOfAKilledProcessIsFree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var acked [childPartitions]partition.Offset
	killRound(t, dir, "always", 5, 0, &acked)
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
