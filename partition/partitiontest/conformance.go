package partitiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// Backend is what producers, consumers and groups need below themselves. *partition.Store is the first; whatever else
// says it is one has to pass Conformance.
type Backend interface {
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)
	Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error)
	Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error)
	ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error)
	InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error)
}

var _ Backend = (*partition.Store)(nil)

// Conformance checks that a backend keeps the contract of the calls of Backend. open returns a backend that has one
// topic, empty, of that name and with that many partitions, and whose end the test does not have to see to.
func Conformance(t *testing.T, open func(t *testing.T, topic string, partitions int32) Backend) {
	for name, f := range map[string]func(*check){
		"AppendedRecordsAreFetchedInOrder":             appendedAreFetched,
		"FetchNeverShowsMoreThanTheHighWatermark":      fetchStopsAtHighWatermark,
		"FetchWaitsForAnAppend":                        fetchWaits,
		"ErrorsOfPartitionsAreInTheirResults":          errorsInResults,
		"AnIdempotentProducersRetryIsADuplicate":       retryIsDuplicate,
		"AnIdempotentProducerCannotSkipOrBeFenced":     sequenceAndEpoch,
		"OffsetsAreFoundByTime":                        offsetsByTime,
		"ProducerIDsAreNeverGivenTwice":                producerIDs,
		"MetadataNamesWhatIsThereAndWhatIsNot":         metadata,
		"ACancelledContextChangesNothingAndIsReturned": cancelled,
	} {
		t.Run(name, func(t *testing.T) {
			f(&check{T: t, b: open(t, "conformance", 3), tp: partition.TopicPartition{Topic: "conformance", Partition: 1}})
		})
	}
}

type check struct {
	*testing.T
	b  Backend
	tp partition.TopicPartition
}

func (c *check) ok(err error, what string) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

func (c *check) is(err, want error, what string) {
	c.Helper()
	if !errors.Is(err, want) {
		c.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

func equal[V comparable](c *check, got, want V, what string) {
	c.Helper()
	if got != want {
		c.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (c *check) append(vs ...string) partition.AppendResult {
	c.Helper()
	var rs []Record
	for i, v := range vs {
		rs = append(rs, Record{Timestamp: conformanceTime + int64(i), Value: []byte(v)})
	}
	r, err := c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, Batch: Batch(rs...)})
	c.ok(err, "append")
	return r
}

const conformanceTime = 900_000_000_000 // milliseconds

// fetch reads one partition once.
func (c *check) fetch(from partition.Offset, wait time.Duration) ([]Record, partition.FetchResult) {
	c.Helper()
	rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{MaxWait: wait, Partitions: []partition.FetchPosition{{TopicPartition: c.tp, Offset: from, LeaderEpoch: partition.LeaderEpochUnknown}}})
	c.ok(err, "fetch")
	equal(c, len(rs), 1, "results of a fetch of one partition")
	records, err := Records(rs[0].Batches)
	c.ok(err, "decode what was fetched")
	rs[0].Lease.Release()
	return slices.DeleteFunc(records, func(r Record) bool { return r.Offset < from }), rs[0]
}

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

func fetchStopsAtHighWatermark(c *check) {
	c.append("a", "b")
	records, res := c.fetch(0, 0)
	equal(c, len(records), 2, "records")
	equal(c, res.HighWatermark, 2, "high watermark")
	equal(c, res.LogStart, 0, "log start offset")
	records, res = c.fetch(2, 0)
	c.ok(res.Err, "fetch at the high watermark")
	equal(c, len(records), 0, "records at the high watermark")
}

func fetchWaits(c *check) {
	got := make(chan []Record)
	go func() {
		records, _ := c.fetch(0, time.Minute)
		got <- records
	}()
	c.append("late")
	records := <-got
	if len(records) != 1 || string(records[0].Value) != "late" {
		c.Fatalf("the waiting fetch returned %v", records)
	}
}

func errorsInResults(c *check) {
	c.append("a")
	at := func(tp partition.TopicPartition, o partition.Offset) partition.FetchPosition {
		return partition.FetchPosition{TopicPartition: tp, Offset: o, LeaderEpoch: partition.LeaderEpochUnknown}
	}
	rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{MaxWait: time.Minute, Partitions: []partition.FetchPosition{
		at(c.tp, 0), at(c.tp, 99), at(c.tp, -5), at(partition.TopicPartition{Topic: "no-such-topic"}, 0), at(partition.TopicPartition{Topic: c.tp.Topic, Partition: 99}, 0),
	}})
	c.ok(err, "a fetch of good and bad partitions")
	c.ok(rs[0].Err, "the good one")
	for i, want := range []error{1: partition.ErrOffsetOutOfRange, 2: partition.ErrOffsetOutOfRange, 3: partition.ErrUnknownTopicOrPartition, 4: partition.ErrUnknownTopicOrPartition} {
		if i > 0 {
			c.is(rs[i].Err, want, fmt.Sprint("result ", i))
		}
	}
	for i := range rs {
		rs[i].Lease.Release()
	}
	_, err = c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "no-such-topic"}, Batch: Batch(Record{Value: []byte("x")})})
	c.is(err, partition.ErrUnknownTopicOrPartition, "append to a topic that is not there")
}

// idempotent builds a batch of one record of an idempotent producer.
func idempotent(p partition.ProducerID, sequence int32, v string) []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{Idempotent: true, ProducerID: p.ID, Epoch: p.Epoch, BaseSequence: sequence})
	w.Append(conformanceTime, nil, []byte(v), nil)
	b, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

func (c *check) send(p partition.ProducerID, sequence int32) (partition.AppendResult, error) {
	return c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, Batch: idempotent(p, sequence, fmt.Sprint(sequence))})
}

func retryIsDuplicate(c *check) {
	p, err := c.b.InitProducerID(c.Context(), "", 0, partition.NoProducerID)
	c.ok(err, "init producer id")
	for i := range int32(5) {
		r, err := c.send(p, i)
		c.ok(err, "first send")
		equal(c, r.BaseOffset, partition.Offset(i), "base offset")
	}
	for i := range int32(5) {
		r, err := c.send(p, i)
		c.ok(err, "retry")
		equal(c, r.BaseOffset, partition.Offset(i), "the first one's offset")
	}
	records, _ := c.fetch(0, 0)
	hw, err := c.b.ListOffsets(c.Context(), c.tp, partition.TimestampLatest)
	c.ok(err, "list offsets")
	equal(c, hw, 5, "high watermark")
	if len(records) == 0 {
		c.Fatal("nothing to read")
	}
}

func sequenceAndEpoch(c *check) {
	p, err := c.b.InitProducerID(c.Context(), "", 0, partition.NoProducerID)
	c.ok(err, "init producer id")
	_, err = c.send(p, 0)
	c.ok(err, "first send")
	_, err = c.send(p, 2)
	c.is(err, partition.ErrOutOfOrderSequence, "a skipped sequence")
	newer := p
	newer.Epoch++
	_, err = c.send(newer, 0)
	c.ok(err, "a new epoch begins at 0")
	_, err = c.send(p, 1)
	c.is(err, partition.ErrInvalidProducerEpoch, "an old epoch")
	_, err = c.send(newer, 1)
	c.ok(err, "the new one goes on")
}

func offsetsByTime(c *check) {
	c.append("a", "b", "c")
	for ts, want := range map[int64]partition.Offset{
		partition.TimestampEarliest: 0, partition.TimestampLatest: 3, partition.TimestampMax: 2,
		0: 0, conformanceTime + 1: 1, conformanceTime + 3: partition.OffsetUnknown,
	} {
		o, err := c.b.ListOffsets(c.Context(), c.tp, ts)
		c.ok(err, "list offsets")
		equal(c, o, want, fmt.Sprint("offset of timestamp ", ts))
	}
	_, err := c.b.ListOffsets(c.Context(), partition.TopicPartition{Topic: "no-such-topic"}, partition.TimestampLatest)
	c.is(err, partition.ErrUnknownTopicOrPartition, "list offsets of a topic that is not there")
}

func producerIDs(c *check) {
	seen := map[int64]bool{}
	for range 100 {
		p, err := c.b.InitProducerID(c.Context(), "", 0, partition.NoProducerID)
		c.ok(err, "init producer id")
		equal(c, p.Epoch, 0, "epoch")
		equal(c, seen[p.ID], false, "a producer id given twice")
		seen[p.ID] = true
	}
}

func metadata(c *check) {
	ms, err := c.b.Metadata(c.Context(), []string{c.tp.Topic, "no-such-topic"})
	c.ok(err, "metadata")
	equal(c, len(ms), 2, "answers")
	c.ok(ms[0].Err, "the topic")
	equal(c, len(ms[0].Partitions), 3, "partitions")
	equal(c, ms[0].ID.IsZero(), false, "an id of zero")
	c.is(ms[1].Err, partition.ErrUnknownTopicOrPartition, "a topic that is not there")
	all, err := c.b.Metadata(c.Context(), nil)
	c.ok(err, "metadata of all topics")
	equal(c, slices.ContainsFunc(all, func(m partition.Metadata) bool { return m.Topic == c.tp.Topic && m.ID == ms[0].ID }), true, "the topic is among all")
	_, err = c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, TopicID: partition.TopicID{1, 2}, Batch: Batch(Record{Value: []byte("x")})})
	c.is(err, partition.ErrUnknownTopicID, "append with another topic's id")
	_, err = c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, TopicID: ms[0].ID, Batch: Batch(Record{Value: []byte("x")})})
	c.ok(err, "append with the topic's id")
}

func cancelled(c *check) {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	_, err := c.b.Append(ctx, partition.AppendRequest{TopicPartition: c.tp, Batch: Batch(Record{Value: []byte("x")})})
	c.is(err, context.Canceled, "append")
	_, err = c.b.Fetch(ctx, partition.FetchRequest{MaxWait: time.Minute, Partitions: []partition.FetchPosition{{TopicPartition: c.tp, LeaderEpoch: -1}}})
	c.is(err, context.Canceled, "fetch")
	hw, err := c.b.ListOffsets(c.Context(), c.tp, partition.TimestampLatest)
	c.ok(err, "list offsets")
	equal(c, hw, 0, "high watermark")
}
