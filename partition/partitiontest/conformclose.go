package partitiontest

import (
	"errors"
	"time"

	"github.com/partlog/partlog/partition"
)

func reopened(c *check) func(*check) {
	c.append("a", "b")
	c.append("c")
	_, err := c.s.DeleteRecords(c.Context(), c.tp, 1)
	c.ok(err, "delete records")
	c.ok(c.s.AlterTopicConfig(c.Context(), c.tp.Topic, map[string]string{"max.message.bytes": "2000"}), "alter")
	gone := c.topic("gone", partition.TopicConfig{})
	c.ok(c.s.DeleteTopic(c.Context(), gone.Topic), "delete")
	keys := c.topic("keys", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	c.putKey(keys, "a", "1")
	c.putKey(keys, "a", "2")
	c.compact(keys)
	before, err := c.s.DescribeTopic(c.Context(), c.tp.Topic)
	c.ok(err, "describe")
	return func(c *check) {
		after, err := c.s.DescribeTopic(c.Context(), c.tp.Topic)
		c.ok(err, "describe")
		equal(c, after.ID, before.ID, "id")
		equal(c, after.Partitions, before.Partitions, "partitions")
		equal(c, after.Created.Equal(before.Created), true, "time of creation")
		equal(c, after.Overrides["max.message.bytes"], "2000", "a setting")
		_, err = c.s.DescribeTopic(c.Context(), gone.Topic)
		c.is(err, partition.ErrUnknownTopicOrPartition, "a topic that was deleted")
		same(c, described(c.read(c.tp)), []string{"1:=b", "2:=c"}, "records")
		equal(c, c.start(c.tp), 1, "log start offset")
		same(c, described(c.read(keys)), []string{"1:a=2"}, "records of a compacted topic")
		equal(c, c.append("d").BaseOffset, 3, "offset of the next record")
	}
}

func reopenedProducer(c *check) func(*check) {
	p := c.producer()
	for i := range int32(3) {
		_, err := c.send(p, i)
		c.ok(err, "send")
	}
	return func(c *check) {
		r, err := c.send(p, 2)
		c.ok(err, "retry")
		equal(c, r.BaseOffset, 2, "the first one's offset")
		equal(c, r.Duplicate, true, "duplicate")
		_, err = c.send(p, 4)
		c.is(err, partition.ErrOutOfOrderSequence, "a skipped sequence")
		_, err = c.send(p, 3)
		c.ok(err, "the next one")
		equal(c, c.producer().ID == p.ID, false, "that a producer id is given twice")
	}
}

func reopenedTransactions(c *check) func(*check) {
	done, open := c.begin("done"), c.begin("open")
	done.send(c.at(0), "yes")
	done.end(true, "commit")
	done.send(c.at(1), "no")
	done.end(false, "abort")
	open.send(c.at(2), "perhaps")
	return func(c *check) {
		done.c, open.c = c, c
		c.stable(c.at(0))
		same(c, c.committed(c.at(0)), []string{"yes"}, "what was committed")
		c.stable(c.at(1))
		same(c, c.committed(c.at(1)), nil, "what was aborted")
		want := []string{"perhaps", "more"}
		if c.on.Differs.TransactionsGoOn {
			open.send(c.at(2), "more")
			open.end(true, "commit of what was open")
		} else {
			c.is(open.tryEnd(true), partition.ErrInvalidTxnState, "commit of what was open")
			want = nil
		}
		c.stable(c.at(2))
		same(c, c.committed(c.at(2)), want, "what was open")
		done.init()
		done.send(c.at(0), "again")
		done.end(true, "commit")
		c.stable(c.at(0))
		same(c, c.committed(c.at(0)), []string{"yes", "again"}, "committed by the next producer")
	}
}

func closed(c *check) {
	c.append("a")
	c.ok(c.s.Close(), "close")
	for what, call := range map[string]func() error{
		"append": func() error { _, err := c.put(c.tp, valued("x")); return err },
		"fetch": func() error {
			rs, err := c.s.Fetch(c.Context(), partition.FetchRequest{MaxWait: time.Minute, Partitions: []partition.FetchPosition{position(c.tp, 0)}})
			if err == nil {
				err = rs[0].Err
			}
			return err
		},
		"list offsets":   func() error { _, err := c.s.ListOffsets(c.Context(), c.tp, partition.TimestampLatest); return err },
		"look up offset": func() error { _, err := c.s.LookUpOffset(c.Context(), c.tp, 0, -1, false); return err },
		"epoch end":      func() error { _, _, err := c.s.EpochEnd(c.Context(), c.tp, 0); return err },
		"size":           func() error { _, err := c.s.Size(c.Context(), c.tp); return err },
		"metadata":       func() error { _, err := c.s.Metadata(c.Context(), nil); return err },
		"create topic":   func() error { _, err := c.s.CreateTopic(c.Context(), "late", partition.TopicConfig{}); return err },
		"delete topic":   func() error { return c.s.DeleteTopic(c.Context(), c.tp.Topic) },
		"describe topic": func() error { _, err := c.s.DescribeTopic(c.Context(), c.tp.Topic); return err },
		"list topics":    func() error { _, err := c.s.ListTopics(c.Context()); return err },
		"alter": func() error {
			return c.s.AlterTopicConfig(c.Context(), c.tp.Topic, map[string]string{"segment.ms": "1000"})
		},
		"grow":           func() error { return c.s.CreatePartitions(c.Context(), c.tp.Topic, 9) },
		"delete records": func() error { _, err := c.s.DeleteRecords(c.Context(), c.tp, 1); return err },
		"producers":      func() error { _, err := c.s.DescribeProducers(c.Context(), c.tp); return err },
		"producer id":    func() error { _, err := c.s.InitProducerID(c.Context(), "", 0, partition.NoProducerID); return err },
		"transactional id": func() error {
			_, err := c.s.InitProducerID(c.Context(), "late", time.Minute, partition.NoProducerID)
			return err
		},
		"end": func() error {
			_, err := c.s.EndTxn(c.Context(), "late", partition.ProducerID{ID: 1}, true)
			return err
		},
		"transactions": func() error { _, err := c.s.ListTransactions(c.Context(), partition.TransactionFilter{}); return err },
	} {
		if err := call(); !errors.Is(err, partition.ErrClosed) {
			c.Errorf("%s after Close: got %v, want %v", what, err, partition.ErrClosed)
		}
	}
	c.ok(c.s.Close(), "close again")
}
