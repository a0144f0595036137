package partition_test

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// opening is a file system that tells which files are opened.
type opening struct {
	partition.FS
	tell func(name string)
}

func (o opening) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	o.tell(name)
	return o.FS.OpenFile(name, flag, perm)
}

// The backup is of a store at work: partitions grow and roll before, between and while their copies are made.
func TestSnapshotWhileAppendsGoOnHoldsAPrefixOfEachPartition(t *testing.T) {
	const partitions, appenders = 3, 2
	type acknowledged struct {
		sync.Mutex
		values []string // by offset; "" is one whose append has not returned yet
	}
	var acked [partitions]acknowledged
	progress := make(chan struct{}) // an append was acknowledged, and somebody wanted to know
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	made := func(n int) { // waits for appends
		for range n {
			select {
			case <-progress:
			case <-ended:
			}
		}
	}
	var copied atomic.Int32
	disk := opening{vfs.NewMem(), func(name string) {
		if strings.HasPrefix(name, "/backup/") && strings.HasSuffix(name, ".log") {
			copied.Add(1)
			made(50) // appends go on while a partition is being copied
		}
	}}
	s, err := partition.Open("/store", partition.Config{FS: disk, Topics: partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "2000"}}})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: partitions})
	require.NoError(t, err)
	appendOne := func(p int, value string) error {
		r, err := s.Append(t.Context(), partition.AppendRequest{
			TopicPartition: partition.TopicPartition{Topic: "t", Partition: int32(p)}, Batch: partitiontest.Batch(record(value))})
		if err != nil {
			return err
		}
		a := &acked[p]
		a.Lock()
		defer a.Unlock()
		for len(a.values) <= int(r.BaseOffset) {
			a.values = append(a.values, "")
		}
		a.values[r.BaseOffset] = value
		return nil
	}
	for p := range partitions {
		for i := range 100 {
			require.NoError(t, appendOne(p, fmt.Sprint("before ", i)))
		}
	}
	var wg sync.WaitGroup
	for p := range partitions {
		for a := range appenders {
			wg.Go(func() {
				for i := 0; ; i++ {
					if err := appendOne(p, fmt.Sprint("appender ", a, " ", i)); err != nil {
						t.Error(err)
						end()
					}
					select {
					case progress <- struct{}{}:
					case <-ended:
						return
					default:
					}
				}
			})
		}
	}
	made(100)
	var before [partitions]map[int]string
	for p := range partitions {
		before[p] = map[int]string{}
		acked[p].Lock()
		for o, v := range acked[p].values {
			if v != "" {
				before[p][o] = v
			}
		}
		acked[p].Unlock()
	}
	err = s.Snapshot(t.Context(), "/backup")
	end()
	wg.Wait()
	require.NoError(t, err)
	require.GreaterOrEqual(t, copied.Load(), int32(partitions))

	b, err := partition.Open("/backup", partition.Config{FS: disk.FS})
	require.NoError(t, err)
	require.Nil(t, b.RecoveryReport(), "a backup is a cleanly closed store")
	v, err := b.Verify(t.Context())
	require.NoError(t, err)
	require.False(t, v.Damaged(), "%+v", v)
	shorter := 0
	for p := range partitions {
		all, start, err := partitiontest.ReadAll(t.Context(), b, partition.TopicPartition{Topic: "t", Partition: int32(p)})
		require.NoError(t, err)
		require.Zero(t, start)
		require.LessOrEqual(t, len(all), len(acked[p].values))
		for o, r := range all {
			require.Equal(t, partition.Offset(o), r.Offset)
			require.Equal(t, acked[p].values[o], string(r.Value), "%d at %d", p, o)
		}
		for o, value := range before[p] {
			require.Less(t, o, len(all), "partition %d lacks %q", p, value)
		}
		if len(all) < len(acked[p].values) {
			shorter++
		}
		require.Equal(t, acked[p].values, readValues(t, s, "t", int32(p)))
	}
	require.Positive(t, shorter, "appends went on behind the copies")
	require.NoError(t, b.Close())
	require.NoError(t, s.Close())
}
