package partition_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// reference makes a small store with several segments, an idempotent producer's state, and headers, and returns its
// disk and its records by offset.
func reference(t *testing.T, c partition.Config) (*partitiontest.Disk, map[partition.Offset]string) {
	d := partitiontest.NewDisk()
	c.FS = d
	s, err := partition.Open("store", c)
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "1024"}, IndexIntervalBytes: 100})
	require.NoError(t, err)
	want := map[partition.Offset]string{}
	for i := range 12 {
		v := fmt.Sprintf("value %d of the store that is damaged everywhere", i)
		want[mustAppend(t, s, "t", 0, v)] = v
	}
	c.Clock.(*partitiontest.Clock).Advance(2 * time.Second) // seals what has been rolled
	require.NoError(t, s.Close())
	return d, want
}

// damaged opens a store that something was done to and reads it. It fails the test if a record is wrong, or is missing
// although nobody said so.
func damaged(t *testing.T, d *partitiontest.Disk, c partition.Config, want map[partition.Offset]string, what string) {
	said := false
	c.FS = d
	c.Events.Recovered = func(partition.TopicPartition, partition.PartitionRecovery) { said = true }
	c.Events.PartitionFailed = func(partition.TopicPartition, error) { said = true }
	c.Events.Warning = func(partition.Warning) { said = true }
	s, err := partition.Open("store", c)
	if err != nil {
		return // refused, with an error
	}
	said = said || s.RecoveryReport() != nil
	got := map[partition.Offset]string{}
	ctx := context.Background()
	tp := partition.TopicPartition{Topic: "t"}
	for at := partition.Offset(0); ; {
		rs, err := s.Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: at, LeaderEpoch: -1}}})
		require.NoError(t, err, what)
		r := &rs[0]
		if r.Err != nil {
			said = true
			if _, ok := errors.AsType[*log.CorruptionError](r.Err); ok && r.CorruptNext > at {
				at = r.CorruptNext
				continue
			}
			if o, ok := errors.AsType[*log.OffsetOutOfRangeError](r.Err); ok && o.Start > at {
				at = o.Start
				continue
			}
			break
		}
		if len(r.Batches) == 0 {
			break
		}
		records, err := partitiontest.Records(r.Batches)
		r.Lease.Release()
		if err != nil {
			t.Errorf("%s: a fetch returned a damaged batch: %v", what, err)
			break
		}
		for _, x := range records {
			if want[x.Offset] != string(x.Value) {
				t.Errorf("%s: record %d is %q", what, x.Offset, x.Value)
			}
			got[x.Offset] = string(x.Value)
			at = x.Offset + 1
		}
	}
	if len(got) < len(want) {
		if !said {
			t.Errorf("%s: %d of %d records are missing, and nobody said so", what, len(want)-len(got), len(want))
		}
	}
	_ = s.Close()
}

// paths lists the files of a disk's store.
func paths(t *testing.T, d *partitiontest.Disk, dir string) (out []string) {
	entries, err := d.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			out = append(out, paths(t, d, name)...)
		} else {
			out = append(out, name)
		}
	}
	return out
}

func size(t *testing.T, d *partitiontest.Disk, name string) int64 {
	info, err := d.Stat(name)
	require.NoError(t, err)
	return info.Size()
}

// Every byte of every file of a small store is flipped, every file is cut at every length, zeroed, removed, emptied and
// swapped with every other of its kind; after a clean close and after a kill. Nothing ever returns a wrong record, and
// no record is missing without a word.
func TestDamageAnywhereIsDetectedRepairedOrHarmless(t *testing.T) {
	for _, unclean := range []bool{false, true} {
		c := partition.Config{Clock: partitiontest.NewClock(time.UnixMilli(1_700_000_000_000)), OpenConcurrency: 1}
		base, want := reference(t, c)
		root, err := filepath.Abs("store")
		require.NoError(t, err)
		if unclean {
			require.NoError(t, base.Remove(filepath.Join(root, "data", ".kafka_cleanshutdown")))
		}
		stride := int64(1)
		if testing.Short() || raceEnabled {
			stride = 37
		}
		damaged(t, base.Kill(), c, want, "nothing")
		files := paths(t, base, root)
		require.Greater(t, len(files), 12)
		edit := func(name, what string, f func(d *partitiontest.Disk)) {
			d := base.Kill()
			f(d)
			damaged(t, d, c, want, fmt.Sprintf("unclean=%v: %s: %s", unclean, name, what))
		}
		withFile := func(d *partitiontest.Disk, name string, f func(vfs.File) error) {
			h, err := d.OpenFile(name, os.O_RDWR, 0)
			require.NoError(t, err)
			require.NoError(t, f(h))
			require.NoError(t, h.Close())
		}
		for _, name := range files {
			n := size(t, base, name)
			for at := int64(0); at < n; at += stride {
				edit(name, fmt.Sprintf("bit %d of byte %d flipped", at%8, at), func(d *partitiontest.Disk) {
					withFile(d, name, func(f vfs.File) error {
						b := make([]byte, 1)
						if _, err := f.ReadAt(b, at); err != nil {
							return err
						}
						b[0] ^= 1 << (at % 8)
						_, err := f.WriteAt(b, at)
						return err
					})
				})
				edit(name, fmt.Sprintf("cut to %d of %d bytes", at, n), func(d *partitiontest.Disk) {
					withFile(d, name, func(f vfs.File) error { return f.Truncate(at) })
				})
			}
			edit(name, "zeroed", func(d *partitiontest.Disk) {
				withFile(d, name, func(f vfs.File) error { _, err := f.WriteAt(make([]byte, n), 0); return err })
			})
			edit(name, "longer by zeros", func(d *partitiontest.Disk) {
				withFile(d, name, func(f vfs.File) error { return f.Truncate(n + 700) })
			})
			edit(name, "removed", func(d *partitiontest.Disk) { require.NoError(t, d.Remove(name)) })
			for _, other := range files {
				if other > name && filepath.Ext(other) == filepath.Ext(name) {
					edit(name, "swapped with "+other, func(d *partitiontest.Disk) {
						require.NoError(t, d.Rename(name, name+"x"))
						require.NoError(t, d.Rename(other, name))
						require.NoError(t, d.Rename(name+"x", other))
					})
				}
			}
		}
		edit("store", "a foreign file everywhere", func(d *partitiontest.Disk) {
			for _, dir := range []string{"", "data", "journal", "data/t-0"} {
				f, err := d.OpenFile(filepath.Join(root, dir, "notes.txt"), os.O_RDWR|os.O_CREATE, fs.FileMode(0o600))
				require.NoError(t, err)
				_, err = f.WriteAt([]byte("mine"), 0)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			}
		})
	}
}
