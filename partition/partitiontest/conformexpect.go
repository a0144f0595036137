package partitiontest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/partition"
)

// expecting appends a record of a key on the condition that the key's last record is at an offset.
func (c *check) expecting(tp partition.TopicPartition, key string, last partition.Offset, value string) (partition.Offset, error) {
	r, err := c.b.Append(c.Context(), partition.AppendRequest{
		TopicPartition: tp, Expect: &partition.Expect{Key: []byte(key), Last: last}, Foreign: true,
		Batch: Batch(Record{Timestamp: conformanceTime, Key: []byte(key), Value: []byte(value)}),
	})
	return r.BaseOffset, err
}

func expectations(c *check) {
	tp := c.topic("keys", partition.TopicConfig{KeyIndex: true})
	for i, step := range []struct {
		key  string
		last partition.Offset
	}{{"a", partition.NoRecord}, {"b", partition.NoRecord}, {"a", 0}} {
		o, err := c.expecting(tp, step.key, step.last, "x")
		c.ok(err, "what is so")
		equal(c, o, partition.Offset(i), "offset")
	}
	_, err := c.expecting(tp, "a", 0, "late")
	c.is(err, partition.ErrVersionConflict, "what is not so any more")
	conflict, typed := errors.AsType[*partition.VersionConflictError](err)
	if !typed || conflict.Expected != 0 || conflict.Actual != 2 || string(conflict.Key) != "a" || conflict.TopicPartition != tp {
		c.Fatalf("an error that does not say what is so: %#v", err)
	}
	_, err = c.expecting(tp, "b", partition.NoRecord, "late")
	c.is(err, partition.ErrVersionConflict, "what is not so any more")
	equal(c, c.end(tp), 3, "high watermark")
}

func expectationsRefused(c *check) {
	_, err := c.expecting(c.tp, "a", partition.NoRecord, "x")
	c.is(err, partition.ErrPolicyViolation, "in a topic without a key index")
	tp := c.topic("keys", partition.TopicConfig{KeyIndex: true})
	_, err = c.b.Append(c.Context(), partition.AppendRequest{
		TopicPartition: tp, Expect: &partition.Expect{Key: []byte("b"), Last: partition.NoRecord},
		Batch: Batch(Record{Timestamp: conformanceTime, Key: []byte("a")}),
	})
	c.is(err, partition.ErrInvalidRecord, "of another key than the batch's")
	equal(c, c.end(c.tp)+c.end(tp), 0, "high watermarks")
}

func expectationsRace(c *check) {
	tp := c.topic("keys", partition.TopicConfig{KeyIndex: true})
	last := partition.NoRecord
	for round := range 3 {
		var all sync.WaitGroup
		var won atomic.Int32
		for w := range 4 {
			all.Go(func() {
				_, err := c.expecting(tp, "k", last, fmt.Sprint(round, w))
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, partition.ErrVersionConflict):
					c.Errorf("append: %v", err)
				}
			})
		}
		all.Wait()
		equal(c, won.Load(), 1, "writers that have succeeded")
		last++
	}
	equal(c, c.end(tp), 3, "high watermark")
}
