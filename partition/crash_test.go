package partition_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// crasher runs a script on a store and, before every operation that changes its disk, opens the store as it would be
// found if power were lost at that moment, in several of the states that this may leave, and compares it with the model.
type crasher struct {
	t        testing.TB
	disk     *partitiontest.Disk
	clock    *partitiontest.Clock
	store    *partition.Store
	model    *partitiontest.Model // what must be there
	limit    int                  // states looked at before each operation
	distinct map[uint64]bool
	n        int
	trace    []string
}

func (c *crasher) config(d *partitiontest.Disk) partition.Config {
	return partition.Config{FS: d, Clock: c.clock, OpenConcurrency: 1, SyncConcurrency: 1,
		Topics: partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "1024"}, IndexIntervalBytes: 200}}
}

// begin starts a script on an empty disk.
func (c *crasher) begin() {
	c.disk = partitiontest.NewDisk()
	c.clock = partitiontest.NewClock(time.UnixMilli(900_000_000_000))
	c.model = partitiontest.NewModel()
	c.trace = nil
	c.watch()
	c.open()
}

func (c *crasher) watch() {
	c.disk.OnOp(func(op partitiontest.Op) {
		c.disk.EachCrash(c.limit, func(after *partitiontest.Disk, label string) bool {
			c.look(after, op, label)
			return true
		})
	})
}

// look opens one state and holds it against the model, and once more after the close that follows.
func (c *crasher) look(after *partitiontest.Disk, op partitiontest.Op, label string) {
	hash := after.Hash()
	if c.distinct[hash] {
		return
	}
	c.distinct[hash] = true
	s, err := partition.Open("store", c.config(after))
	if err == nil {
		err = c.model.CheckAfterCrash(s)
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}
	require.NoError(c.t, err, "crash before %s, %s, in script %v", op, label, c.trace)
}

func (c *crasher) open() {
	s, err := partition.Open("store", c.config(c.disk))
	require.NoError(c.t, err)
	c.store = s
}

// The operations of scripts. While one is under way the model holds what may or may not have happened.
var crashSteps = map[string]func(*crasher){
	"append": func(c *crasher) { c.append(partition.AcksAll, 40) },
	"leader": func(c *crasher) { c.append(partition.AcksLeader, 40) },
	"large":  func(c *crasher) { c.append(partition.AcksAll, 700) }, // rolls
	"topic": func(c *crasher) {
		settled := c.model.Clone()
		c.model.Doubtful("t")
		topic, err := c.store.CreateTopic(context.Background(), "t", partition.TopicConfig{})
		c.model = settled
		if err == nil {
			c.model.Created("t", topic.ID(), 1)
		} else {
			require.ErrorIs(c.t, err, partition.ErrTopicAlreadyExists)
		}
	},
	"delete": func(c *crasher) {
		if c.model.Partitions("t") == 0 {
			return
		}
		settled := c.model.Clone()
		c.model.Doubtful("t")
		require.NoError(c.t, c.store.DeleteTopic(context.Background(), "t"))
		c.model = settled
		c.model.Deleted("t")
	},
	"trim": func(c *crasher) {
		if c.model.Partitions("t") == 0 {
			return
		}
		tp := partition.TopicPartition{Topic: "t"}
		hw, err := c.store.ListOffsets(context.Background(), tp, partition.TimestampLatest)
		require.NoError(c.t, err)
		require.NoError(c.t, c.model.DeletingRecords(tp, hw/2+1))
		if _, err := c.store.DeleteRecords(context.Background(), tp, min(hw/2+1, hw)); err == nil {
			require.NoError(c.t, c.model.RecordsDeleted(tp, min(hw/2+1, hw)))
		}
	},
	"second": func(c *crasher) { c.clock.Advance(time.Second) },
	"reopen": func(c *crasher) {
		require.NoError(c.t, c.store.Close())
		c.open()
	},
	"power": func(c *crasher) { // lost, and the script goes on with what is left
		after := c.disk.Crash(uint64(c.n))
		c.disk.OnOp(nil)
		_ = c.store.Close()
		c.disk = after
		c.watch()
		c.open()
		require.NoError(c.t, c.model.CheckAfterCrash(c.store))
		require.NoError(c.t, c.model.Settle(c.store))
	},
}

func (c *crasher) append(acks partition.Acks, size int) {
	if c.model.Partitions("t") == 0 {
		return
	}
	c.n++
	tp := partition.TopicPartition{Topic: "t"}
	b := partitiontest.Batch(partitiontest.Record{Timestamp: 900_000_000_000 + int64(c.n), Value: fmt.Appendf(nil, "%0*d", size, c.n)})
	sent := append([]byte(nil), b...)
	settled := c.model.Clone()
	require.NoError(c.t, c.model.Failed(tp, sent))
	r, err := c.store.Append(context.Background(), partition.AppendRequest{TopicPartition: tp, Batch: b, Acks: acks})
	require.NoError(c.t, err)
	c.model = settled
	require.NoError(c.t, c.model.Appended(tp, sent, r.BaseOffset, acks == partition.AcksAll))
}

func (c *crasher) step(name string) {
	c.trace = append(c.trace, name)
	crashSteps[name](c)
}

func (c *crasher) end() {
	c.disk.OnOp(nil)
	require.NoError(c.t, c.store.Close())
}

var crashNames = []string{"append", "leader", "large", "topic", "delete", "trim", "second", "reopen", "power"}

// Everything acknowledged is there after a crash at any operation of the disk, in all scripts of up to two steps after
// a topic and a record, and in random longer ones. PARTLOG_SOAK=duration goes on for that long, and looks at all
// scripts of three.
func TestNothingAcknowledgedIsLostInAnyCrash(t *testing.T) {
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	c := &crasher{t: t, distinct: map[uint64]bool{}, limit: 6}
	began := time.Now()
	depth := 2
	if soak > 0 {
		depth, c.limit = 3, 64
	}
	var script func(steps []string)
	script = func(steps []string) {
		if len(steps) > 0 {
			c.begin()
			c.step("topic")
			c.step("append")
			for _, s := range steps {
				c.step(s)
			}
			c.end()
		}
		if len(steps) == depth || soak > 0 && time.Since(began) > soak {
			return
		}
		for _, s := range crashNames {
			script(append(append([]string{}, steps...), s))
		}
	}
	script(nil)
	exhausted := len(c.distinct)
	rng := rand.New(rand.NewPCG(uint64(began.UnixNano()), 1))
	if soak == 0 {
		rng = rand.New(rand.NewPCG(1, 1))
	}
	c.limit = 4
	for i := 0; i < 20 || soak > 0 && time.Since(began) < soak; i++ {
		c.begin()
		for range 3 + rng.IntN(25) {
			c.step(crashNames[rng.IntN(len(crashNames))])
		}
		c.end()
	}
	t.Logf("crash states: %d distinct, 0 lost (%d of them in all scripts of up to %d steps)", len(c.distinct), exhausted, depth)
}
