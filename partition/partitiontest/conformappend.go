package partitiontest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

func appendedAreFetched(c *check) {
	for i := range 20 {
		r := c.append(fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
		equal(c, r.BaseOffset, partition.Offset(2*i), "base offset")
	}
	for from := partition.Offset(0); from < 40; {
		records, res := c.fetch(from, 0)
		c.ok(res.Err, "fetch")
		if len(records) == 0 {
			c.Fatalf("nothing at offset %d of 40", from)
		}
		for _, r := range records {
			equal(c, r.Offset, from, "offset")
			equal(c, string(r.Value), fmt.Sprint(from/2, string("ab"[from%2])), "value")
			from++
		}
	}
}

func partitionsAreIndependent(c *check) {
	for p := range int32(3) {
		for i := range p + 1 {
			r, err := c.put(c.at(p), valued(fmt.Sprint(p, "-", i)))
			c.ok(err, "append")
			equal(c, r.BaseOffset, partition.Offset(i), "base offset")
		}
	}
	for p := range int32(3) {
		equal(c, c.end(c.at(p)), partition.Offset(p+1), "high watermark")
		equal(c, string(c.read(c.at(p))[p].Value), fmt.Sprint(p, "-", p), "value")
	}
}

func contentsAreKept(c *check) {
	want := []Record{
		{Timestamp: conformanceTime, Key: []byte("k"), Value: []byte("v"), Headers: []partition.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "", Value: []byte{}}}},
		{Timestamp: conformanceTime - 5, Value: []byte{}},
		{Timestamp: conformanceTime + 5, Key: []byte{}},
	}
	_, err := c.put(c.tp, Batch(want...))
	c.ok(err, "append")
	got := c.read(c.tp)
	equal(c, len(got), len(want), "records")
	alike := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	for i, g := range got {
		w := want[i]
		if g.Timestamp != w.Timestamp || !alike(g.Key, w.Key) || !alike(g.Value, w.Value) ||
			!slices.EqualFunc(g.Headers, w.Headers, func(a, b partition.Header) bool { return a.Key == b.Key && alike(a.Value, b.Value) }) {
			c.Fatalf("record %d: got %+v, want %+v", i, g, w)
		}
	}
}

func acks(c *check) {
	for i, a := range []partition.Acks{partition.AcksLeader, partition.AcksNone, partition.AcksAll} {
		r, err := c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, Batch: valued(a.String()), Acks: a})
		c.ok(err, "append with acks="+a.String())
		equal(c, r.BaseOffset, partition.Offset(i), "base offset")
	}
	same(c, valuesOf(c.read(c.tp)), []string{"1", "0", "all"}, "what is visible when the last is acknowledged by all")
}

func unknownAcks(c *check) {
	_, err := c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, Batch: valued("x"), Acks: 9})
	c.is(err, partition.ErrInvalidRequiredAcks, "acks of 9")
	equal(c, c.end(c.tp), 0, "high watermark")
}

func minISR(c *check) {
	tp := c.topic("many", partition.TopicConfig{MinInsyncReplicas: 99})
	_, err := c.put(tp, valued("a"))
	c.ok(err, "min.insync.replicas above the number of replicas: all of them are enough")
	equal(c, c.end(tp), 1, "high watermark")
	if c.on.StopOne == nil {
		return // there is one copy
	}
	start := c.on.StopOne(c.T)
	c.soon("one has left the ISR", func() bool {
		_, err := c.s.Append(c.Context(), partition.AppendRequest{TopicPartition: tp, Batch: valued("all"), Timeout: time.Second})
		return errors.Is(err, partition.ErrNotEnoughReplicas)
	})
	end := c.lookUpIn(tp, partition.TimestampLatest).Offset
	r, err := c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: tp, Batch: valued("leader"), Acks: partition.AcksLeader})
	c.ok(err, "acks=1")
	equal(c, c.end(tp), end, "high watermark while there are too few")
	start()
	c.soon("all are in sync again", func() bool {
		_, err := c.put(tp, valued("again"))
		return err == nil
	})
	equal(c, string(c.read(tp)[r.BaseOffset].Value), "leader", "what is visible when there are enough")
}

func damagedBatch(c *check) {
	flipped := valued("damaged")
	flipped[len(flipped)-1] ^= 1
	shifted := valued("x")
	batch.Batch(shifted).SetBaseOffset(3)
	short := valued("x")
	for what, bad := range map[string]struct {
		b    []byte
		want error
	}{
		"a flipped bit":       {flipped, partition.ErrCorruptMessage},
		"another base offset": {shifted, partition.ErrInvalidRecord},
		"two batches":         {append(valued("a"), valued("b")...), partition.ErrInvalidRecord},
		"nothing":             {nil, partition.ErrInvalidRecord},
		"half a header":       {short[:30], partition.ErrInvalidRecord},
	} {
		_, err := c.put(c.tp, bad.b)
		c.is(err, bad.want, what)
	}
	equal(c, c.end(c.tp), 0, "high watermark after what was refused")
	equal(c, c.append("good").BaseOffset, 0, "offset of what was not")
}

func largeBatch(c *check) {
	tp := c.topic("small", partition.TopicConfig{MaxMessageBytes: 500})
	_, err := c.put(tp, valued(strings.Repeat("x", 1000)))
	c.is(err, partition.ErrMessageTooLarge, "1000 bytes of 500")
	equal(c, c.end(tp), 0, "high watermark")
	_, err = c.put(tp, valued(strings.Repeat("x", 100)))
	c.ok(err, "100 bytes of 500")
}

func timestampBounds(c *check) {
	tp := c.topic("timed", partition.TopicConfig{TimestampBefore: time.Hour, TimestampAfter: time.Minute})
	put := func(d time.Duration) error {
		_, err := c.put(tp, Batch(Record{Timestamp: c.now() + d.Milliseconds(), Value: []byte("x")}))
		return err
	}
	c.is(put(-2*time.Hour), partition.ErrInvalidTimestamp, "two hours ago")
	c.is(put(2*time.Minute), partition.ErrInvalidTimestamp, "in two minutes")
	c.ok(put(0), "now")
	equal(c, c.end(tp), 1, "high watermark")
}

func logAppendTime(c *check) {
	tp := c.topic("stamped", partition.TopicConfig{TimestampType: partition.LogAppendTime})
	r, err := c.put(tp, valued("a", "b"))
	c.ok(err, "append")
	equal(c, r.LogAppendTime, c.now(), "time of the append")
	for _, got := range c.read(tp) {
		equal(c, got.Timestamp, c.now(), "time of the record")
	}
	equal(c, c.append("x").LogAppendTime, -1, "in a topic that keeps its producers' times")
}

func compressionType(c *check) {
	for _, codec := range []partition.Compression{partition.CompressionGzip, partition.CompressionZstd, partition.CompressionLZ4, partition.CompressionSnappy} {
		tp := c.topic(string(codec), partition.TopicConfig{Compression: codec})
		value := strings.Repeat("z", 500)
		_, err := c.put(tp, valued(value))
		c.ok(err, "append")
		want, err := partition.ParseCodec(string(codec))
		c.ok(err, "codec")
		rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{Partitions: []partition.FetchPosition{position(tp, 0)}})
		c.ok(err, "fetch")
		equal(c, batch.Batch(rs[0].Batches).Codec(), want, "codec")
		rs[0].Lease.Release()
		same(c, valuesOf(c.read(tp)), []string{value}, "values")
	}
}

func internalTopics(c *check) {
	c.begin("internal").end(false, "an abort of nothing") // whoever asks first makes the topic
	tp := partition.TopicPartition{Topic: "__transaction_state"}
	_, err := c.put(tp, valued("x"))
	c.is(err, partition.ErrInvalidTopic, "append to a coordinator's topic")
	d, err := c.s.DescribeTopic(c.Context(), tp.Topic)
	c.ok(err, "describe")
	equal(c, d.Internal, true, "internal")
	c.is(c.s.CreatePartitions(c.Context(), tp.Topic, d.Partitions+1), partition.ErrInvalidTopic, "growth")
}
